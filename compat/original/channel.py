"""One channel's message slices: what a server wrote, what then happened to the files, and what must be found.

Every slice has a fate. The expectation follows from what was done to the slice, never from reading it again.
"""

import datetime
import hashlib
import struct

from ciphers import channel_key, seal
from format import HEADER, index_entry, message, record

GAPS_LISTED = 16

FATES = (
    "clean clean clean index_missing index_partial index_flip index_zero_length index_version index_emptied index_zeros "
    "index_short torn_without_index torn_with_index cut restart restart_without_index garbage garbage_without_index "
    "flip flip_size flip_without_index flip_last data_zeros data_zeros_without_index empty empty_data copies"
).split()


class Message:
    def __init__(self, sequence, timestamp, reply, plain, stored):
        self.sequence, self.timestamp, self.reply = sequence, timestamp, reply
        self.plain, self.stored = plain, stored


class Channel:
    """Writes one channel's slices and knows what they hold."""

    def __init__(self, random, name, polynomial, encryption, faults):
        self.random, self.name, self.polynomial, self.faults = random, name, polynomial, faults
        # (key or None, ciphers to choose from, whether the reader is given the key)
        self.encryption = encryption
        self.next_sequence = 1
        self.clock = 1_600_000_000_000_000_000 + random.randrange(10**15)
        self.files = {}
        self.findings = []
        # Per slice: [(message, offset, beyond_the_index)], what a reader may take from it.
        self.slices = []
        # Per slice: the first sequence that it claims to have, readable or not.
        self.firsts = []
        self.slice_count = 0
        self.nonce = random.randrange(1 << 95)

    def find(self, severity, kind, file, offset=None, count=None, sequence=None):
        self.findings.append(
            {
                "severity": severity,
                "kind": kind,
                "file": f"{self.name}/{file}" if file else self.name,
                "offset": offset,
                "count": count,
                "sequence": sequence,
            }
        )

    def generate(self):
        random = self.random
        number = random.choice([1, 1, 1, 1, 2, 7])
        for _ in range(random.choice([0, 1, 1, 2, 3, 5])):
            fate = random.choice(FATES) if random.random() < self.faults else "clean"
            self.write_slice(number, fate)
            number += random.choice([1, 1, 1, 1, 2, 9])
        self.add_strays(number)

    # What a server writes.

    def new_message(self):
        random = self.random
        if random.random() < 0.02:
            self.next_sequence += random.randrange(1, 4)
        if random.random() < 0.04:
            self.clock -= random.randrange(1, 10**10)
        else:
            self.clock += random.choice([0, 1, 1000, 10**9, random.randrange(10**10)])
        reply = random.choice(["", "", "r", "_INBOX.reply"])
        length = random.choice([0, 1, 2, 5, 17, 17, 40, 100, 300])
        if random.random() < 0.003:
            length = 300_000
        plain = random.randbytes(length)
        stored = plain
        key, ciphers = self.encryption[0], self.encryption[1]
        if plain and key is not None and length < 400 and random.random() < 0.9:
            self.nonce += 1
            stored = seal(random.choice(ciphers), channel_key(key, self.name), self.nonce.to_bytes(12, "big"), plain)
        made = Message(self.next_sequence, self.clock, reply, plain, stored)
        self.next_sequence += 1
        return made

    def record_of(self, made):
        payload = message(made.sequence, self.name, made.reply, made.stored, made.timestamp)
        return record(payload, self.polynomial)

    def lay_out(self, messages):
        """Records one after the other from offset 4: [(message, offset, bytes)]."""
        offset, laid = len(HEADER), []
        for made in messages:
            data = self.record_of(made)
            laid.append((made, offset, data))
            offset += len(data)
        return laid

    def index_of(self, laid):
        entries = [
            index_entry(made.sequence, offset, made.timestamp, len(data) - 8, self.polynomial)
            for made, offset, data in laid
        ]
        return HEADER + b"".join(entries)

    def write_slice(self, number, fate):
        self.slice_count += 1
        dat, idx = f"msgs.{number}.dat", f"msgs.{number}.idx"
        least = {"index_flip": 1, "index_emptied": 1, "index_short": 2, "cut": 2, "flip": 2, "flip_size": 2}.get(fate, 0)
        least = max(least, {"restart": 3, "restart_without_index": 3, "garbage": 2, "garbage_without_index": 2}.get(fate, 0))
        least = max(least, {"flip_without_index": 1, "flip_last": 1}.get(fate, 0))
        count = self.random.choice([0, 1, 2, 3, 8, 8, 30])
        count = 0 if fate in ("empty", "empty_data") else max(count, least)
        messages = self.copies(fate) + [self.new_message() for _ in range(count)]
        laid = self.lay_out(messages)
        data = bytearray(HEADER + b"".join(bytes_ for _, _, bytes_ in laid))
        index = bytearray(self.index_of(laid))
        files = getattr(self, "fate_" + fate, self.fate_clean)(dat, idx, laid, data, index)
        written_first = laid[0][0].sequence if fate in ("flip", "flip_size") else None
        self.firsts.append(written_first or next((made.sequence for made, _, _ in self.slices[-1]), None))
        for name, content in zip((dat, idx), files):
            if content is not None:
                self.files[name] = bytes(content)

    def take(self, laid, beyond=False):
        return [(made, offset, beyond) for made, offset, _ in laid]

    def copies(self, fate):
        """Messages of the slice before, once more."""
        if fate != "copies" or not self.slices:
            return []
        indexed = [made for made, _, beyond in self.slices[-1] if not beyond]
        return indexed[-self.random.randrange(1, 4) :]

    # What happens to the files. Each returns the bytes of data and index (None: no such file), and remembers what is left.

    def fate_clean(self, dat, idx, laid, data, index):
        self.slices.append(self.take(laid))
        return data, index

    def fate_index_missing(self, dat, idx, laid, data, index):
        self.slices.append(self.take(laid))
        self.find("repair", "index_missing", idx)
        return data, None

    def fate_index_partial(self, dat, idx, laid, data, index):
        self.slices.append(self.take(laid))
        self.find("repair", "index_damaged", idx)
        return data, index + bytes([1]) + self.random.randbytes(self.random.randrange(0, 31))

    def fate_index_flip(self, dat, idx, laid, data, index):
        self.slices.append(self.take(laid))
        self.find("repair", "index_damaged", idx)
        index[self.random.randrange(4, len(index))] ^= 1 << self.random.randrange(8)
        return data, index

    def fate_index_zero_length(self, dat, idx, laid, data, index):
        self.slices.append(self.take(laid))
        self.find("repair", "index_damaged", idx)
        return data, b""

    def fate_index_version(self, dat, idx, laid, data, index):
        self.slices.append(self.take(laid))
        self.find("repair", "index_damaged", idx)
        index[0] = self.random.choice([0, 2, 255])
        return data, index

    def fate_index_emptied(self, dat, idx, laid, data, index):
        """The first write to a slice whose index was not written any more."""
        self.slices.append(self.take(laid))
        self.find("repair", "index_behind", dat, offset=4, count=len(laid))
        return data, HEADER

    def fate_index_zeros(self, dat, idx, laid, data, index):
        self.slices.append(self.take(laid))
        zeros = self.random.randrange(32, 200)
        self.find("note", "zero_tail", idx, offset=len(index), count=zeros)
        return data, index + bytes(zeros)

    def fate_index_short(self, dat, idx, laid, data, index):
        """The index ends before the data: a crash between the two writes."""
        missing = self.random.randrange(1, len(laid))
        known, orphans = laid[:-missing], laid[-missing:]
        self.slices.append(self.take(known) + self.take(orphans, beyond=True))
        self.find("repair", "index_behind", dat, offset=orphans[0][1], count=missing)
        if self.random.random() < 0.5:
            # The server went on as if they had never been.
            self.next_sequence = known[-1][0].sequence + 1
        return data, self.index_of(known)

    def partial_record(self):
        """The beginning of a record that never got its end."""
        whole = self.record_of(Message(self.next_sequence, self.clock, "", b"never", b"never"))
        return whole[: self.random.randrange(1, len(whole))]

    def fate_torn_without_index(self, dat, idx, laid, data, index):
        self.slices.append(self.take(laid))
        torn = self.partial_record()
        self.find("repair", "index_missing", idx)
        self.find("repair", "torn_tail", dat, offset=len(data), count=len(torn))
        return data + torn, None

    def fate_torn_with_index(self, dat, idx, laid, data, index):
        self.slices.append(self.take(laid))
        torn = self.partial_record()
        self.find("repair", "torn_tail", dat, offset=len(data), count=len(torn))
        return data + torn, index

    def fate_cut(self, dat, idx, laid, data, index):
        """The data file lost its end, and the index knows what was there."""
        kept = self.random.randrange(0, len(laid))
        start = laid[kept][1]
        cut = start + self.random.randrange(0, len(laid[kept][2]))
        self.slices.append(self.take(laid[:kept]))
        lost = laid[kept:]
        self.find("loss", "index_ahead", idx, count=len(lost), sequence=lost[0][0].sequence)
        if cut > start:
            self.find("repair", "torn_tail", dat, offset=start, count=cut - start)
        return data[:cut], index

    def restarted(self, laid):
        """Some records at the end were never indexed; after a restart the sequences were given out again."""
        known = laid[: self.random.randrange(1, len(laid))]
        orphans = laid[len(known) :]
        self.next_sequence = known[-1][0].sequence + 1
        after, offset = [], laid[-1][1] + len(laid[-1][2])
        for _ in range(self.random.randrange(1, 5)):
            made = self.new_message()
            bytes_ = self.record_of(made)
            after.append((made, offset, bytes_))
            offset += len(bytes_)
        return known, orphans, after

    def fate_restart(self, dat, idx, laid, data, index):
        known, orphans, after = self.restarted(laid)
        self.slices.append(self.take(known + after))
        self.find("note", "unindexed_bytes", dat, offset=orphans[0][1], count=sum(len(one[2]) for one in orphans))
        return data + b"".join(one[2] for one in after), self.index_of(known + after)

    def fate_restart_without_index(self, dat, idx, laid, data, index):
        known, orphans, after = self.restarted(laid)
        first = after[0][0].sequence
        kept = known + [one for one in orphans if one[0].sequence < first]
        self.slices.append(self.take(kept + after))
        self.find("repair", "index_missing", idx)
        replaced = len(known) + len(orphans) - len(kept)
        if replaced:
            self.find("repair", "superseded_records", dat, offset=after[0][1], count=replaced)
        return data + b"".join(one[2] for one in after), None

    def with_garbage(self, laid):
        """A torn record in the middle, as an original leaves it that appended after a crash."""
        at = self.random.randrange(1, len(laid))
        garbage = self.record_of(Message(laid[at][0].sequence, self.clock, "", b"torn", b"torn"))
        garbage = garbage[: self.random.randrange(1, len(garbage))]
        start = laid[at][1]
        moved = laid[:at] + [(made, offset + len(garbage), bytes_) for made, offset, bytes_ in laid[at:]]
        return at, start, garbage, moved

    def fate_garbage(self, dat, idx, laid, data, index):
        at, start, garbage, moved = self.with_garbage(laid)
        self.slices.append(self.take(moved))
        self.find("note", "unindexed_bytes", dat, offset=start, count=len(garbage))
        return data[:start] + garbage + data[start:], self.index_of(moved)

    def fate_garbage_without_index(self, dat, idx, laid, data, index):
        at, start, garbage, moved = self.with_garbage(laid)
        self.slices.append(self.take(moved))
        self.find("repair", "index_missing", idx)
        follows = laid[at][0].sequence == laid[at - 1][0].sequence + 1
        self.find("repair" if follows else "loss", "unreadable_bytes", dat, offset=start, count=len(garbage))
        return data[:start] + garbage + data[start:], None

    def flip(self, data, one):
        """Another payload than the checksum says."""
        _, offset, bytes_ = one
        data[offset + self.random.randrange(4, len(bytes_))] ^= 1 << self.random.randrange(8)

    def fate_flip(self, dat, idx, laid, data, index):
        at = self.random.randrange(0, len(laid) - 1)
        self.flip(data, laid[at])
        self.slices.append(self.take(laid[:at] + laid[at + 1 :]))
        self.find("loss", "message_damaged", dat, offset=laid[at][1], sequence=laid[at][0].sequence)
        return data, index

    def fate_flip_size(self, dat, idx, laid, data, index):
        at = self.random.randrange(0, len(laid) - 1)
        data[laid[at][1] + self.random.randrange(4)] ^= 1 << self.random.randrange(8)
        self.slices.append(self.take(laid[:at] + laid[at + 1 :]))
        self.find("loss", "message_damaged", dat, offset=laid[at][1], sequence=laid[at][0].sequence)
        return data, index

    def fate_flip_without_index(self, dat, idx, laid, data, index):
        at = self.random.randrange(0, len(laid))
        self.flip(data, laid[at])
        self.slices.append(self.take(laid[:at] + laid[at + 1 :]))
        self.find("repair", "index_missing", idx)
        self.find("loss", "unreadable_bytes", dat, offset=laid[at][1], count=len(laid[at][2]))
        return data, None

    def fate_flip_last(self, dat, idx, laid, data, index):
        """The one message that an original looks at when it trusts an index."""
        self.flip(data, laid[-1])
        self.slices.append(self.take(laid[:-1]))
        self.find("repair", "index_damaged", idx)
        self.find("loss", "unreadable_bytes", dat, offset=laid[-1][1], count=len(laid[-1][2]))
        return data, index

    def fate_data_zeros(self, dat, idx, laid, data, index):
        self.slices.append(self.take(laid))
        zeros = self.random.choice([1, 7, 8, 9, 100, 70_000])
        self.find("note", "zero_tail", dat, offset=len(data), count=zeros)
        return data + bytes(zeros), index

    def fate_data_zeros_without_index(self, dat, idx, laid, data, index):
        self.slices.append(self.take(laid))
        zeros = self.random.choice([1, 7, 8, 9, 100, 70_000])
        self.find("repair", "index_missing", idx)
        self.find("note", "zero_tail", dat, offset=len(data), count=zeros)
        return data + bytes(zeros), None

    def fate_empty(self, dat, idx, laid, data, index):
        self.slices.append([])
        return data, index

    def fate_empty_data(self, dat, idx, laid, data, index):
        """A crash between the making of a file and its header."""
        self.slices.append([])
        data = b"\x01\x00\x00"[: self.random.randrange(0, 4)]
        self.find("repair", "no_header", dat, offset=0, count=len(data))
        return data, index

    def add_strays(self, number):
        """Files that are no slices."""
        random = self.random
        if random.random() > self.faults:
            return
        for kind, name, content in (
            ("index_without_data", f"msgs.{number}.idx", HEADER),
            ("archived_slice", "msgs.90.dat.bak", HEADER),
            ("archived_slice", "msgs.90.idx.bak", HEADER),
            ("unknown_file", "notes.txt", b"hello"),
            ("slice_name", "msgs.x.dat", HEADER + b"\x01"),
        ):
            if random.random() < 0.15:
                self.files[name] = content
                self.find("loss" if kind == "slice_name" else "note", kind, name)

    # What must be found.

    def taken(self):
        """The messages that count, in order, and what was repeated: [(position of the slice, messages)]."""
        taken, repetitions, last = [], [], 0
        for position, slice_ in enumerate(self.slices):
            bound = next((first for first in self.firsts[position + 1 :] if first is not None), None)
            candidates = [
                made for made, _, beyond in slice_ if not (beyond and bound is not None and made.sequence >= bound)
            ]
            repeated = [made for made in candidates if made.sequence <= last]
            if repeated:
                repetitions.append((position, repeated))
            taken += [made for made in candidates if made.sequence > last]
            last = taken[-1].sequence if taken else 0
        return taken, repetitions

    def find_repeated(self, position, repeated):
        names = sorted(
            (name for name in self.files if name.startswith("msgs.") and name.endswith(".dat") and name != "msgs.x.dat"),
            key=lambda name: int(name.split(".")[1]),
        )
        self.find("repair", "duplicate_sequences", names[position], count=len(repeated), sequence=repeated[0].sequence)

    def expectation(self):
        taken, repetitions = self.taken()
        for position, repeated in repetitions:
            self.find_repeated(position, repeated)
        gaps = [
            (before.sequence + 1, after.sequence - before.sequence - 1)
            for before, after in zip(taken, taken[1:])
            if after.sequence != before.sequence + 1
        ]
        for first, count in gaps[:GAPS_LISTED]:
            self.find("note", "gap", None, count=count, sequence=first)
        decreasing = sum(after.timestamp < before.timestamp for before, after in zip(taken, taken[1:]))
        if decreasing:
            self.find("note", "decreasing_times", None, count=decreasing)
        marked = [made for made in taken if made.stored[:1] in (b"\x01", b"\x02")]
        key, _, given = self.encryption
        failing = [made for made in marked if made.stored == made.plain or not given]
        if marked and given is None:
            self.find("note", "looks_encrypted", None, count=len(marked))
        elif failing:
            self.find("loss", "undecryptable", None, count=len(failing), sequence=failing[0].sequence)
        sizes = [len(message(m.sequence, self.name, m.reply, m.stored, m.timestamp)) + 40 for m in taken]
        return {
            "name": self.name,
            "slices": self.slice_count,
            "messages": len(taken),
            "bytes": sum(sizes),
            "payload_bytes": sum(len(made.stored) for made in taken),
            "first_sequence": taken[0].sequence if taken else 0,
            "last_sequence": taken[-1].sequence if taken else 0,
            "first_time": rfc3339(taken[0].timestamp) if taken else None,
            "last_time": rfc3339(taken[-1].timestamp) if taken else None,
            "missing": sum(count for _, count in gaps),
            "empty_messages": sum(not made.stored for made in taken),
            "encrypted": len(marked),
            "decreasing_times": decreasing,
        }

    def digest(self):
        """Of everything that a message is; payloads in clear when the key is given."""
        digest = hashlib.sha256()
        for made in self.taken()[0]:
            reply = made.reply.encode()
            data = made.plain if self.encryption[2] else made.stored
            digest.update(struct.pack("<QqII", made.sequence, made.timestamp, len(reply), len(data)))
            digest.update(reply + data)
        return digest.hexdigest()


def rfc3339(nanoseconds):
    seconds, fraction = divmod(nanoseconds, 10**9)
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    digits = f".{fraction:09d}".rstrip("0") if fraction else ""
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + digits + "Z"

