"""One channel's `subs.dat`: a random history, its records, and the state it leaves (3.9)."""

from format import number, sub_state, sub_update
from logs import Log

NEW, UPDATE, DELETE, ACK, PENDING = 1, 2, 3, 4, 5
RANGES_LISTED = 100


class Subscriptions:
    def __init__(self, random, channel, polynomial, clients, last_sequence):
        self.random, self.channel, self.clients = random, channel, clients
        self.last_sequence = last_sequence
        self.log = Log(random, polynomial)
        self.live = {}
        self.next_id = 1

    def generate(self):
        for _ in range(self.random.choice([0, 0, 3, 10, 40, 150])):
            self.step()

    def step(self):
        random = self.random
        choice = random.random()
        if choice < 0.2 or not self.live:
            sub = self.new_sub()
            self.log.add(NEW, sub_state(sub), ("new", dict(sub)))
            self.live[sub["id"]] = sub
        elif choice < 0.6:
            sub = random.choice(list(self.live.values()))
            sequence = random.randrange(1, max(2, self.last_sequence + 3))
            sub["last_sent"] = max(sub["last_sent"], sequence)
            self.log.add(PENDING, sub_update(sub["id"], sequence), ("pending", sub["id"], sequence))
        elif choice < 0.85:
            # Also acks of what is not pending, and of what is no more.
            sub_id = random.randrange(1, self.next_id + 1)
            sequence = random.randrange(1, max(2, self.last_sequence + 3))
            self.log.add(ACK, sub_update(sub_id, sequence), ("ack", sub_id, sequence))
        elif choice < 0.95:
            self.update()
        elif random.random() < 0.2:
            # Of one whose other records are gone; its ID is still never given out again.
            self.next_id += random.randrange(1, 4)
            self.log.add(DELETE, number(1, self.next_id), ("delete", self.next_id))
            self.next_id += 1
        else:
            sub_id = random.choice(list(self.live))
            del self.live[sub_id]
            self.log.add(DELETE, number(1, sub_id), ("delete", sub_id))

    def new_sub(self):
        random = self.random
        kind = random.choice(["plain", "queue", "durable", "durable", "durable_queue", "durable_queue"])
        group = {"queue": "workers", "durable_queue": "dur:workers"}.get(kind, "")
        sub_id = self.next_id
        self.next_id += random.choice([1, 1, 1, 2, 5])
        return {
            "id": sub_id,
            "client_id": random.choice(self.clients + ["gone"]),
            "queue_group": group,
            "inbox": f"_INBOX.{sub_id}.{self.channel}",
            "ack_inbox": f"_INBOX.ack.{sub_id}",
            "max_in_flight": random.choice([1, 16, 1024]),
            "ack_wait_seconds": random.choice([1, 30]),
            "durable_name": random.choice(["dur", "été"]) if kind == "durable" else "",
            "last_sent": random.randrange(0, self.last_sequence + 1),
            # Old stores did not say it of plain durables.
            "is_durable": kind == "durable_queue" or (kind == "durable" and random.random() < 0.8),
            "is_closed": False,
        }

    def update(self):
        sub = self.random.choice(list(self.live.values()))
        if sub["durable_name"]:
            sub["is_closed"] = not sub["is_closed"]
        elif sub["is_durable"]:
            # The group stays when its last member has gone.
            sub["client_id"] = ""
        sub["last_sent"] = max(sub["last_sent"], self.random.randrange(0, self.last_sequence + 1))
        written = dict(sub)
        if self.random.random() < 0.2:
            # A position that was passed since: the highest counts.
            written["last_sent"] = self.random.randrange(0, sub["last_sent"] + 1)
        self.log.add(UPDATE, sub_state(written), ("update", written))

    # What must be found.

    def fold(self, recovered_clients):
        """The state after the records that can be read."""
        state, pending, highest = {}, {}, 0
        for event in self.log.readable():
            if event[0] in ("new", "update"):
                sub = dict(event[1])
                highest = max(highest, sub["id"])
                if event[0] == "new":
                    pending[sub["id"]] = set()
                elif sub["id"] in state:
                    sub["last_sent"] = max(sub["last_sent"], state[sub["id"]]["last_sent"])
                else:
                    pending[sub["id"]] = set()
                state[sub["id"]] = sub
            elif event[0] == "delete":
                highest = max(highest, event[1])
                state.pop(event[1], None)
                pending.pop(event[1], None)
            elif event[1] in state:
                if event[0] == "pending":
                    pending[event[1]].add(event[2])
                    state[event[1]]["last_sent"] = max(state[event[1]]["last_sent"], event[2])
                else:
                    pending[event[1]].discard(event[2])
        found = [self.described(state[key], pending[key], recovered_clients) for key in sorted(state)]
        return found, highest + 1

    def described(self, sub, pending, recovered_clients):
        durable = sub["durable_name"] != ""
        kind = "queue" if sub["queue_group"] else "durable" if durable else "plain"
        if sub["queue_group"] and sub["is_durable"]:
            kind = "durable_queue"
        present = sub["client_id"] in recovered_clients
        if kind == "durable":
            status = "online" if present and not sub["is_closed"] else "offline"
        elif kind == "durable_queue":
            status = "offline" if not sub["client_id"] else "online" if present else "ghost"
        else:
            status = "online" if present else "orphan"
        return {
            "id": sub["id"],
            "kind": kind,
            "status": status,
            "client_id": sub["client_id"],
            "queue_group": sub["queue_group"],
            "durable_name": sub["durable_name"],
            "inbox": sub["inbox"],
            "ack_inbox": sub["ack_inbox"],
            "max_in_flight": sub["max_in_flight"],
            "ack_wait_seconds": sub["ack_wait_seconds"],
            "last_sent": sub["last_sent"],
            "pending": len(pending),
            "pending_ranges": ranges(pending),
        }


def ranges(sequences):
    found = []
    for sequence in sorted(sequences):
        if found and found[-1][1] + 1 == sequence:
            found[-1][1] = sequence
        else:
            found.append([sequence, sequence])
    return found[:RANGES_LISTED]
