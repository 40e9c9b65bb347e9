"""A member of a cluster: a random history of operations, the snapshot and the log that it left, and the state they come to."""

import copy

import raft
from ciphers import AES, log_key, seal
from format import message
from subscriptions import ranges


class Member:
    """What the operations make of clients, channels and subscriptions (6.5; streaming protocol 5.6, 5.7)."""

    def __init__(self):
        self.clients, self.channels = {}, {}

    def channel(self, name, channel_id):
        if name not in self.channels:
            self.channels[name] = {"id": channel_id, "subs": {}, "pending": {}, "highest": 0, "last": 0}
        return self.channels[name]

    def members(self, channel, group):
        subs = self.channels[channel]["subs"]
        return [sub for _, sub in sorted(subs.items()) if sub["queue_group"] == group[0] and sub["is_durable"] == group[1]]

    def leave(self, name, sub, forget):
        channel = self.channels[name]
        others = []
        if sub["queue_group"]:
            others = [one for one in self.members(name, (sub["queue_group"], sub["is_durable"])) if one is not sub]
        if sub["durable_name"] and not forget:
            sub["is_closed"] = True
        elif sub["queue_group"] and sub["is_durable"] and not others and not forget:
            sub["client_id"] = ""
        else:
            for turn, sequence in enumerate(sorted(channel["pending"][sub["id"]]) if others else []):
                channel["pending"][others[turn % len(others)]["id"]].add(sequence)
            if others:
                others[0]["last_sent"] = max(others[0]["last_sent"], sub["last_sent"])
            del channel["subs"][sub["id"]], channel["pending"][sub["id"]]


def logged_message(sequence):
    """Time and payload of a message as the log has it."""
    return 10**18 + sequence, b"from the log"


class Cluster:
    def __init__(self, random, channels, key):
        """`channels`: name -> last stored sequence, of those whose stores the member has."""
        self.random, self.stored, self.key = random, channels, key
        self.member = Member()
        self.entries = []  # (index, term, kind, data)
        self.index, self.term = 0, 2
        self.snapshots = []  # (term, index, state)
        self.findings = []
        self.nonce = random.randrange(1 << 90)
        self.sub_ids = {}
        self.published = {}  # name -> [(index of the entry, sequences)]
        self.first_kept = 0

    def generate(self):
        random = self.random
        self.append(5, b"configuration")
        for _ in range(random.choice([0, 5, 30, 120, 250])):
            if random.random() < 0.02:
                self.term += 1
                self.append(1, None)
            if random.random() < 0.03:
                self.snapshots.append((self.term, self.index, self.snapshot()))
            getattr(self, random.choice(self.STEPS))()

    STEPS = (
        ["connect"] * 3 + ["disconnect"] + ["subscribe"] * 5 + ["unsubscribe"] + ["close"] * 2 + ["deliver"] * 8
        + ["publish"] * 3 + ["delete"]
    )  # fmt: skip

    def append(self, kind, data):
        self.index += 1
        if kind == 0 and self.key is not None:
            self.nonce += 1
            data = seal(AES, log_key(self.key), self.nonce.to_bytes(12, "big"), data)
        self.entries.append((self.index, self.term, kind, data))

    def connect(self):
        name = self.random.choice(["me", "you", "they", "worker"])
        client = {
            "id": name,
            "heartbeat_inbox": f"_INBOX.hb.{self.index}",
            "connection_id": f"conn{self.index}",
            "protocol": 1,
            "ping_interval": self.random.choice([5, -500]),
            "ping_max_out": 3,
        }
        self.append(0, raft.connect(client))
        self.member.clients[name] = client

    def disconnect(self):
        if not self.member.clients:
            return
        name = self.random.choice(sorted(self.member.clients))
        self.append(0, raft.disconnect(name))
        del self.member.clients[name]
        for channel in sorted(self.member.channels):
            subs = self.member.channels[channel]["subs"]
            for _, sub in sorted(subs.items()):
                if sub["client_id"] == name and not sub["is_closed"]:
                    self.member.leave(channel, sub, forget=False)

    def subscribe(self):
        random = self.random
        if not self.member.clients or not self.stored:
            return
        name = random.choice(sorted(self.stored))
        client = random.choice(sorted(self.member.clients))
        durable, queue = random.choice([("", ""), ("dur", ""), ("dur", ""), ("", "work"), ("dur", "work"), ("dur", "work")])
        channel = self.member.channel(name, self.index)
        group = (f"{durable}:{queue}" if durable and queue else queue, bool(durable))
        same = [
            sub
            for sub in channel["subs"].values()
            if durable and not queue and sub["durable_name"] == durable and sub["client_id"] == client
        ]
        if same and not same[0]["is_closed"]:
            return
        members = self.member.members(name, group) if queue else []
        start = random.randrange(1, self.stored[name] + 2)
        sub_id = channel["highest"] + 1
        request = {
            "client_id": client,
            "channel": name,
            "queue": queue,
            "inbox": f"_INBOX.{self.index}",
            "max_in_flight": random.choice([1, 1024]),
            "ack_wait_seconds": 30,
            "durable": durable,
            "start": start,
        }
        ack_inbox = f"_ack.{self.index}"
        resumed = same or [sub for sub in members if not sub["client_id"]]
        if resumed:
            sub_id = resumed[0]["id"]
        self.append(0, raft.subscribe(request, ack_inbox, sub_id, channel["id"]))
        channel["highest"] = max(channel["highest"], sub_id)
        sub = resumed[0] if resumed else {"id": sub_id, "last_sent": start - 1}
        if members and not resumed:
            sub["last_sent"] = max(one["last_sent"] for one in members)
        sub.update(
            client_id=client,
            queue_group=group[0],
            inbox=request["inbox"],
            ack_inbox=ack_inbox,
            max_in_flight=request["max_in_flight"],
            ack_wait_seconds=30,
            durable_name="" if queue else durable,
            is_durable=bool(durable),
            is_closed=False,
        )
        channel["subs"][sub_id] = sub
        channel["pending"].setdefault(sub_id, set())

    def some_sub(self):
        found = [
            (name, sub)
            for name in sorted(self.member.channels)
            for _, sub in sorted(self.member.channels[name]["subs"].items())
            if sub["client_id"] and not sub["is_closed"]
        ]
        return self.random.choice(found) if found else (None, None)

    def unsubscribe(self):
        name, sub = self.some_sub()
        if sub:
            inbox = self.random.choice([sub["ack_inbox"], sub["inbox"]])
            self.append(0, raft.leave(2, sub["client_id"], name, inbox))
            self.member.leave(name, sub, forget=True)

    def close(self):
        name, sub = self.some_sub()
        if sub:
            self.append(0, raft.leave(3, sub["client_id"], name, sub["ack_inbox"]))
            self.member.leave(name, sub, forget=False)

    def deliver(self):
        name, sub = self.some_sub()
        if not sub:
            return
        pending = self.member.channels[name]["pending"]
        sent = sorted(self.random.sample(range(1, self.stored[name] + 3), self.random.randrange(0, 3)))
        pending[sub["id"]].update(sent)
        sub["last_sent"] = max([sub["last_sent"], *sent])
        mine = sorted(pending[sub["id"]])
        acked = sorted(self.random.sample(mine, self.random.randrange(0, len(mine) + 1)))
        pending[sub["id"]].difference_update(acked)
        self.append(0, raft.sent_and_acked(name, sub["ack_inbox"], sent, acked))

    def publish(self):
        """Mostly what the store has, too; sometimes more."""
        if not self.stored:
            return
        name = self.random.choice(sorted(self.stored))
        channel = self.member.channel(name, self.index)
        first = channel["last"] + 1
        count = self.random.randrange(1, 4)
        if first + count - 1 > self.stored[name] and self.random.random() < 0.7:
            return
        messages = [(first + i, *logged_message(first + i)) for i in range(count)]
        messages = [message(sequence, name, "", payload, time) for sequence, time, payload in messages]
        self.append(0, raft.publish(messages, channel["id"]))
        channel["last"] = first + count - 1
        self.published.setdefault(name, []).append((self.index, range(first, first + count)))

    def delete(self):
        """A channel that has no store any more."""
        name = "deleted"
        self.member.channel(name, self.index)
        channel = self.member.channels[name]
        self.append(0, raft.publish([message(1, name, "", b"x", 10**18)], channel["id"]))
        self.append(0, raft.delete_channel(name, channel["id"]))
        del self.member.channels[name]

    def snapshot(self):
        member = self.member
        channels = [
            (
                name,
                1,
                channel["last"],
                channel["highest"] + 1,
                channel["id"],
                [(sub, channel["pending"][sub_id]) for sub_id, sub in sorted(channel["subs"].items())],
            )
            for name, channel in sorted(member.channels.items())
        ]
        return raft.snapshot_state([member.clients[name] for name in sorted(member.clients)], copy.deepcopy(channels))

    # The directory.

    def write(self, write):
        """`write(path, content)`; returns what is to be found besides the state."""
        random = self.random
        newest = max(self.snapshots, key=lambda one: (one[0], one[1]), default=(0, 0, None))
        for position, (term, index, state) in enumerate(self.snapshots[-2:]):
            name = f"{term}-{index}-160000000000{position}"
            write(f"snapshots/{name}/meta.json", raft.snapshot_meta(name, index, term, state))
            write(f"snapshots/{name}/state.bin", state)
        if random.random() < 0.3:
            write("snapshots/9-9999-1700000000000.tmp/state.bin", b"unfinished")
        if random.random() < 0.3:
            # Newer and damaged: what is before it counts.
            state = self.snapshot()
            name = f"{self.term}-{self.index + 1}-1700000000000"
            write(f"snapshots/{name}/meta.json", raft.snapshot_meta(name, self.index + 1, self.term, state))
            at = random.randrange(len(state))
            write(f"snapshots/{name}/state.bin", state[:at] + bytes([state[at] ^ 4]) + state[at + 1 :])
            self.findings.append(finding("repair", "snapshot_damaged", f"snapshots/{name}"))
        first = random.randrange(0, newest[1] + 1) if self.snapshots else 0
        self.first_kept = first + 1
        kept = [entry for entry in self.entries if entry[0] > first]
        pairs = [
            (index.to_bytes(8, "big"), raft.log_entry(index, term, kind, data, random.randrange(3)))
            for index, term, kind, data in kept
        ]
        bolt = raft.Bolt()
        buckets = {
            b"logs": bolt.bucket(pairs),
            b"conf": bolt.bucket([(b"CurrentTerm", self.term.to_bytes(8, "big")), (b"LastVoteCand", b"c.node.c")]),
            b"channels": bolt.bucket([]),
        }
        write("raft.log", bolt.finish(buckets))
        last = kept[-1] if kept else (newest[1], newest[0])
        return {
            "last_term": last[1],
            "last_index": last[0],
            "snapshot_term": newest[0],
            "snapshot_index": newest[1],
            "entries": len(kept),
        }

    def logged(self, name):
        """The sequences of a channel that the log still has."""
        kept = [sequences for index, sequences in self.published.get(name, []) if index >= self.first_kept]
        return [sequence for sequences in kept for sequence in sequences]

    def subscriptions(self, name):
        """As the report has them, and the next ID."""
        channel = self.member.channels.get(name)
        if channel is None:
            return [], 1
        found = []
        for sub_id, sub in sorted(channel["subs"].items()):
            pending = channel["pending"][sub_id]
            kind = "durable" if sub["durable_name"] else "plain"
            if sub["queue_group"]:
                kind = "durable_queue" if sub["is_durable"] else "queue"
            offline = sub["is_closed"] or not sub["client_id"]
            known = {key: value for key, value in sub.items() if key not in ("is_durable", "is_closed")}
            known.update(kind=kind, status="offline" if offline else "online")
            known.update(pending=len(pending), pending_ranges=ranges(pending))
            found.append(known)
        return found, channel["highest"] + 1


def finding(severity, kind, file, offset=None, count=None, sequence=None):
    return {"severity": severity, "kind": kind, "file": file, "offset": offset, "count": count, "sequence": sequence}
