#!/usr/bin/env python3
"""Makes data directories of NATS Streaming, sound and damaged, with what must be found in them.

    generate.py OUT FIRST LAST     OUT/SEED/data and OUT/SEED/expected.json for each seed
    generate.py --example OUT      the worked example of the specification (3.14)
    generate.py --self-test        the ciphers against the test vectors of the specification (5.6)

Written from the specification of the format alone; shares no code with the reader that it tests.
"""

import json
import os
import random
import shutil
import sys

import ciphers
import format
from channel import Channel, rfc3339
from cluster import Cluster, logged_message
from logs import Log
from subscriptions import Subscriptions

NAMES = "foo bar orders orders.eu orders.eu.new A été before-seaway journal x.y.z.1 clients".split()


class Directory:
    def __init__(self, seed, root):
        self.random, self.root = random.Random(seed), root
        # Half of the directories are as a clean stop leaves them, but for one thing or another.
        self.faults = self.random.choice([0, 0.15, 0.5, 1])
        self.polynomial = self.random.choice([format.IEEE] * 6 + [0x82F63B78])
        self.findings = []
        self.logged = {}  # name -> [(sequence, time, payload)], what only the Raft log has

    def find(self, severity, kind, file, offset=None, count=None, sequence=None):
        self.findings.append(
            {"severity": severity, "kind": kind, "file": file, "offset": offset, "count": count, "sequence": sequence}
        )

    def adopt_findings(self, log, file):
        for finding in log.findings:
            self.findings.append({**finding, "file": file})

    def write(self, path, content):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)

    def generate(self):
        os.makedirs(self.root)
        self.clustered = self.random.random() < 0.25
        server = self.server()
        clients = self.clients()
        key, given = self.key()
        names = self.random.sample(NAMES, self.random.randrange(0, 6))
        channels, digests = [], {}
        for name in sorted(names, key=lambda name: name.encode()):
            found, digests[name] = self.channel(name, key, given, clients)
            channels.append(found)
        raft = None
        if self.clustered:
            raft, clients = self.cluster(server, channels, key if given else None)
        for channel in channels:
            self.judge(channel)
        self.strays()
        severities = {finding["severity"] for finding in self.findings}
        verdict = "refused" if "refusal" in severities else "losses" if "loss" in severities else "ready"
        return {
            "options": {
                "polynomial": self.polynomial,
                "key": key.decode() if given else "another" if given is False else None,
                "raft_directory": "raft" if self.clustered else None,
            },
            "digests": digests,
            "logged": self.logged,
            "report": {
                "verdict": verdict,
                "server": server,
                "clustered": self.clustered,
                "raft": raft,
                "clients": clients,
                "channels": channels,
                "totals": totals(clients, channels),
                "findings": self.findings,
            },
        }

    def cluster(self, server, channels, key):
        """Clients and subscriptions of a member are in its Raft directory; what its store has of them is empty (6.12)."""
        stored = {channel["name"]: channel["last_sequence"] for channel in channels}
        cluster = Cluster(self.random, stored, key)
        cluster.generate()
        below = self.random.choice(["../raft/", f"../raft/{server['cluster_id']}/"])
        raft = cluster.write(lambda path, content: self.write(below + path, content))
        self.findings += cluster.findings
        for channel in channels:
            name = channel["name"]
            channel["subscriptions"], channel["next_subscription_id"] = cluster.subscriptions(name)
            self.beyond_store(cluster, channel)
        clients = cluster.member.clients
        return raft, [clients[name] for name in sorted(clients)]

    def beyond_store(self, cluster, channel):
        """Messages that the cluster has and the member's store has not."""
        name, last = channel["name"], channel["last_sequence"]
        known = cluster.member.channels.get(name, {"last": 0})["last"]
        logged = [sequence for sequence in cluster.logged(name) if sequence > last]
        missing = max(0, known - last) - len(logged)
        if logged:
            self.find("repair", "messages_only_in_raft_log", name, count=len(logged), sequence=logged[0])
            self.take_logged(channel, logged)
        if missing:
            self.find("loss", "messages_missing", name, count=missing, sequence=last + 1)
        channel["known"] = max(known, last)

    def take_logged(self, channel, logged):
        """They are taken from the log, whose times are all below those of the store."""
        name = channel["name"]
        if channel["messages"]:
            gap = logged[0] - channel["last_sequence"] - 1
            if gap:
                channel["missing"] += gap
                self.find("note", "gap", name, count=gap, sequence=channel["last_sequence"] + 1)
            channel["decreasing_times"] += 1
            told = [one for one in self.findings if one["kind"] == "decreasing_times" and one["file"] == name]
            if told:
                told[0]["count"] += 1
            else:
                self.find("note", "decreasing_times", name, count=1)
        else:
            channel["first_sequence"], channel["first_time"] = logged[0], rfc3339(logged_message(logged[0])[0])
        for sequence in logged:
            time, payload = logged_message(sequence)
            channel["bytes"] += len(format.message(sequence, name, "", payload, time)) + 40
            channel["payload_bytes"] += len(payload)
            self.logged.setdefault(name, []).append([sequence, time, payload.decode()])
        channel["messages"] += len(logged)
        channel["last_sequence"], channel["last_time"] = logged[-1], rfc3339(time)

    def judge(self, channel):
        """What is odd about a channel's subscriptions."""
        name, last = channel["name"], channel.pop("known", channel["last_sequence"])
        for status, kind in (("ghost", "ghost_member"), ("orphan", "orphan_subscription")):
            count = sum(sub["status"] == status for sub in channel["subscriptions"])
            if count:
                self.find("note", kind, f"{name}/subs.dat", count=count)
        beyond = sum(sub["last_sent"] > last for sub in channel["subscriptions"])
        if beyond:
            self.find("note", "position_beyond_end", f"{name}/subs.dat", count=beyond)

    def key(self):
        """The key, and whether the reader is given it (None: it is given none, False: another)."""
        if self.random.random() < 0.6:
            return None, None
        return b"mykey", self.random.choice([True, True, True, False, None])

    def server(self):
        random = self.random
        cluster = random.choice(["test-cluster", "c1"])
        # Old stores have a random ID where later ones have the cluster ID.
        last = random.choice([cluster, cluster, cluster, "Qk3x"])
        info = {
            "cluster_id": cluster,
            "discovery": random.choice(["_STAN.discover", "_MY.find"]) + "." + cluster,
            "publish": "_STAN.pub." + last,
            "subscribe": "_STAN.sub." + last,
            "unsubscribe": "_STAN.unsub." + last,
            "close": "_STAN.close." + last,
            "sub_close": random.choice(["", "_STAN.subclose." + last]),
            "acks": "_STAN.ack." + last,
            "node_id": "node-a" if self.clustered else "",
        }
        record = bytearray(format.record(format.server_info(info), self.polynomial))
        fate = random.choice("missing header_only no_header flip longer shorter".split())
        if self.clustered or random.random() >= self.faults * 0.4:
            self.write("server.dat", format.HEADER + record)
            return info
        if fate in ("missing", "header_only", "no_header"):
            self.find("repair", "server_info_missing", "server.dat")
            if fate != "missing":
                self.write("server.dat", format.HEADER if fate == "header_only" else b"")
        else:
            self.find("loss", "server_info_damaged", "server.dat", offset=4)
            if fate == "flip":
                record[random.randrange(4, len(record))] ^= 1 << random.randrange(8)
            record = record[:-1] if fate == "shorter" else record + b"\0" if fate == "longer" else record
            self.write("server.dat", format.HEADER + record)
        return None

    def clients(self):
        random, log, live = self.random, Log(self.random, self.polynomial), {}
        for _ in range(0 if self.clustered else random.choice([0, 1, 4, 12])):
            name = random.choice(["me", "you", "they", "worker-1", "worker-2"])
            if name in live and random.random() < 0.5:
                del live[name]
                log.add(2, format.blob(1, name), ("delete", name))
                continue
            client = {
                "id": name,
                "heartbeat_inbox": f"_INBOX.hb.{random.randrange(1000)}",
                "connection_id": random.choice(["", "ABC", "Zx81"]),
                "protocol": random.choice([0, 1]),
                "ping_interval": random.choice([0, 5, -500]),
                "ping_max_out": random.choice([0, 3]),
            }
            live[name] = client
            log.add(1, format.client_info(client), ("add", client))
        log.befall(self.faults * 0.5)
        self.write("clients.dat", log.content())
        self.adopt_findings(log, "clients.dat")
        recovered = {}
        for event in log.readable():
            if event[0] == "add":
                recovered[event[1]["id"]] = event[1]
            else:
                recovered.pop(event[1], None)
        return [recovered[name] for name in sorted(recovered)]

    def channel(self, name, key, given, clients):
        random = self.random
        chosen = random.choice([(ciphers.AES,), (ciphers.CHACHA,), (ciphers.AES, ciphers.CHACHA)])
        channel = Channel(random, name, self.polynomial, (key, chosen, given), self.faults)
        channel.generate()
        found = channel.expectation()
        for file, content in channel.files.items():
            self.write(f"{name}/{file}", content)
        known = [client["id"] for client in clients]
        subs = Subscriptions(random, name, self.polynomial, known, found["last_sequence"])
        if not self.clustered:
            subs.generate()
        subs.log.befall(self.faults * 0.5)
        subscriptions, found["next_subscription_id"] = subs.fold(known)
        self.write(f"{name}/subs.dat", subs.log.content())
        self.adopt_findings(subs.log, f"{name}/subs.dat")
        self.findings += channel.findings
        found["subscriptions"] = subscriptions
        return found, channel.digest()

    def strays(self):
        """What else may lie in a data directory."""
        for name, kind, content in (
            (".rootdir.lck", None, b""),
            (".truncate.lck", "truncate_witness", b""),
            ("clients.dat123456", "compaction_leftover", b"x"),
            ("subs98765", "compaction_leftover", b""),
            ("README", "unknown_file", b"hello"),
        ):
            if self.random.random() < 0.2:
                self.write(name, content)
                if kind:
                    self.find("note", kind, name)
        if self.random.random() < 0.1:
            os.makedirs(os.path.join(self.root, "lost+found"))
            self.find("note", "no_channel", "lost+found")


def totals(clients, channels):
    subscriptions = [sub for channel in channels for sub in channel["subscriptions"]]
    taken = [sub for sub in subscriptions if sub["status"] in ("online", "offline")]
    return {
        "clients": len(clients),
        "channels": len(channels),
        "messages": sum(channel["messages"] for channel in channels),
        "bytes": sum(channel["bytes"] for channel in channels),
        "subscriptions": len(taken),
        "durables": sum(sub["kind"] in ("durable", "durable_queue") for sub in taken),
        "pending": sum(sub["pending"] for sub in taken),
    }


def worked_example(root):
    """The files of section 3.14, made by the encoders."""
    server = {
        "cluster_id": "c1",
        "discovery": "_STAN.discover.c1",
        "publish": "_STAN.pub.c1",
        "subscribe": "_STAN.sub.c1",
        "unsubscribe": "_STAN.unsub.c1",
        "close": "_STAN.close.c1",
        "sub_close": "_STAN.subclose.c1",
        "acks": "_STAN.ack.c1",
        "node_id": "",
    }
    me = {
        "id": "me",
        "heartbeat_inbox": "_INBOX.h",
        "connection_id": "ABC",
        "protocol": 1,
        "ping_interval": 5,
        "ping_max_out": 3,
    }
    sub = {
        "id": 1,
        "client_id": "me",
        "queue_group": "",
        "inbox": "_INBOX.s",
        "ack_inbox": "_INBOX.a",
        "max_in_flight": 1024,
        "ack_wait_seconds": 30,
        "durable_name": "dur",
        "last_sent": 0,
        "is_durable": True,
        "is_closed": False,
    }
    first = format.record(format.message(1, "foo", "", b"hello", 1600000000000000000))
    second = format.record(format.message(2, "foo", "r", b"hi", 1600000000500000000))
    entries = format.index_entry(1, 4, 1600000000000000000, 24) + format.index_entry(2, 36, 1600000000500000000, 24)
    closed = {**sub, "last_sent": 2, "is_closed": True}
    subs = [(1, format.sub_state(sub)), (5, format.sub_update(1, 1)), (5, format.sub_update(1, 2))]
    subs += [(4, format.sub_update(1, 1)), (2, format.sub_state(closed))]
    clients = [(1, format.client_info(me)), (2, format.blob(1, "me"))]
    files = {
        "server.dat": format.record(format.server_info(server)),
        "clients.dat": b"".join(format.record(payload, kind=kind) for kind, payload in clients),
        "foo/msgs.1.dat": first + second,
        "foo/msgs.1.idx": entries,
        "foo/subs.dat": b"".join(format.record(payload, kind=kind) for kind, payload in subs),
    }
    for name, content in files.items():
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(format.HEADER + content)


def self_test():
    nonce = bytes.fromhex("a1b2c3d40000000000000001")
    key = ciphers.channel_key(b"mykey", "foo")
    assert key.hex() == "5e9e7bb8c8fd4571cef7ea6683b1b6fdf883488b242ab5f28433711b775cd6e3"
    vectors = (
        (ciphers.AES, key, "01a1b2c3d4000000000000000128f241671f3e04ad4cf043595d0ae27764ee4743d2"),
        (ciphers.CHACHA, key, "02a1b2c3d40000000000000001cfe9daf961fa5b549f45b23724439458c4f57909e0"),
        (ciphers.AES, ciphers.log_key(b"mykey"), "01a1b2c3d400000000000000010becc881e53ff32b86524533a9884f7e5e0bd9ad74"),
    )
    for cipher, key, stored in vectors:
        assert ciphers.seal(cipher, key, nonce, b"hello").hex() == stored


def main(words):
    if words == ["--self-test"]:
        return self_test()
    if words[:1] == ["--example"]:
        return worked_example(words[1])
    out, first, last = words[0], int(words[1]), int(words[2])
    for seed in range(first, last + 1):
        folder = os.path.join(out, str(seed))
        shutil.rmtree(folder, ignore_errors=True)
        expected = Directory(seed, os.path.join(folder, "data")).generate()
        with open(os.path.join(folder, "expected.json"), "w", encoding="utf-8") as file:
            json.dump(expected, file)


if __name__ == "__main__":
    main(sys.argv[1:])
