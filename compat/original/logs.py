"""A file of typed records (`clients.dat`, `subs.dat`), and what may happen to it."""

from format import HEADER, record

FATES = "clean clean clean zero_tail torn flip flip_size unknown_type no_header wrong_payload".split()


class Log:
    def __init__(self, random, polynomial):
        self.random, self.polynomial = random, polynomial
        self.records = []  # [bytes, event or None]
        self.findings = []
        self.tail = b""
        self.header = HEADER

    def add(self, kind, payload, event):
        self.records.append([record(payload, self.polynomial, kind), event])

    def find(self, severity, kind, offset=None, count=None):
        self.findings.append({"severity": severity, "kind": kind, "offset": offset, "count": count, "sequence": None})

    def offset(self, position):
        return len(HEADER) + sum(len(bytes_) for bytes_, _ in self.records[:position])

    def befall(self, faults):
        """Chooses a fate. Records that cannot be read lose their event."""
        fate = self.random.choice(FATES) if self.random.random() < faults else "clean"
        if fate in ("flip", "flip_size", "wrong_payload") and not self.records:
            fate = "clean"
        getattr(self, fate)()

    def readable(self):
        return [event for _, event in self.records if event is not None]

    def content(self):
        return self.header + b"".join(bytes_ for bytes_, _ in self.records) + self.tail

    def clean(self):
        pass

    def zero_tail(self):
        zeros = self.random.choice([1, 7, 8, 9, 500])
        self.find("note", "zero_tail", self.offset(None), zeros)
        self.tail = bytes(zeros)

    def torn(self):
        whole = record(b"\x0a\x05never", self.polynomial, 1)
        self.tail = whole[: self.random.randrange(1, len(whole))]
        self.find("repair", "torn_tail", self.offset(None), len(self.tail))

    def flip(self):
        """Another payload than the checksum says."""
        at = self.random.randrange(len(self.records))
        bytes_ = bytearray(self.records[at][0])
        bytes_[self.random.randrange(4, len(bytes_))] ^= 1 << self.random.randrange(8)
        self.records[at] = [bytes(bytes_), None]
        self.find("loss", "unreadable_bytes", self.offset(at), len(bytes_))

    def flip_size(self):
        """A length that cannot be true; with records behind it, so that it is no torn tail."""
        if len(self.records) < 2:
            return
        at = self.random.randrange(len(self.records) - 1)
        bytes_ = bytearray(self.records[at][0])
        bytes_[self.random.randrange(0, 3)] ^= 1 << self.random.randrange(8)
        self.records[at] = [bytes(bytes_), None]
        self.find("loss", "unreadable_bytes", self.offset(at), len(bytes_))

    def unknown_type(self):
        at = self.random.randrange(len(self.records) + 1)
        bytes_ = record(b"\x08\x01", self.polynomial, self.random.choice([6, 9, 200]))
        self.records.insert(at, [bytes_, None])
        self.find("loss", "unknown_record", self.offset(at), 1)

    def wrong_payload(self):
        """A good checksum over what is no such record."""
        at = self.random.randrange(len(self.records) + 1)
        bytes_ = record(b"\x0a\x7fshort", self.polynomial, self.random.choice([1, 2]))
        self.records.insert(at, [bytes_, None])
        self.find("loss", "unknown_record", self.offset(at), 1)

    def no_header(self):
        """A crash between the making of a file and its header."""
        self.records = []
        self.header = b"\x01\x00\x00"[: self.random.randrange(0, 4)]
        self.find("repair", "no_header", 0, len(self.header))
