"""AES-256-GCM and ChaCha20-Poly1305, and the envelope of section 5.4, in plain Python: slow, short and independent."""

import hashlib
import struct

AES, CHACHA = 1, 2


def channel_key(key, channel):
    """Section 5.3, with the run of zeros that belongs to the format."""
    name = channel.encode()
    master = hashlib.sha256(key).digest()
    return hashlib.sha256(bytes(32 + 1 + len(name)) + master + b"." + name).digest()


def log_key(key):
    return hashlib.sha256(key).digest()


def seal(cipher, key, nonce, plain):
    return bytes([cipher]) + nonce + (_gcm if cipher == AES else _chacha_poly)(key, nonce, plain)


def _rotate(value, by):
    return (value << by | value >> 32 - by) & 0xFFFFFFFF


def _quarter(s, a, b, c, d):
    s[a] = s[a] + s[b] & 0xFFFFFFFF
    s[d] = _rotate(s[d] ^ s[a], 16)
    s[c] = s[c] + s[d] & 0xFFFFFFFF
    s[b] = _rotate(s[b] ^ s[c], 12)
    s[a] = s[a] + s[b] & 0xFFFFFFFF
    s[d] = _rotate(s[d] ^ s[a], 8)
    s[c] = s[c] + s[d] & 0xFFFFFFFF
    s[b] = _rotate(s[b] ^ s[c], 7)


def _chacha_block(key, counter, nonce):
    state = list(struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<8I", key))
    state += [counter, *struct.unpack("<3I", nonce)]
    work = state[:]
    for _ in range(10):
        for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
            _quarter(work, a, b, c, d)
        for a, b, c, d in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            _quarter(work, a, b, c, d)
    return struct.pack("<16I", *(x + y & 0xFFFFFFFF for x, y in zip(work, state)))


def _padded(data):
    return data + bytes(-len(data) % 16)


def _chacha_poly(key, nonce, plain):
    stream = b"".join(_chacha_block(key, 1 + i, nonce) for i in range((len(plain) + 63) // 64))
    cipher = bytes(x ^ y for x, y in zip(plain, stream))
    one_time = _chacha_block(key, 0, nonce)
    r = int.from_bytes(one_time[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    text = _padded(cipher) + struct.pack("<QQ", 0, len(cipher))
    for at in range(0, len(text), 16):
        block = int.from_bytes(text[at : at + 16] + b"\x01", "little")
        total = (total + block) * r % ((1 << 130) - 5)
    tag = total + int.from_bytes(one_time[16:32], "little") & (1 << 128) - 1
    return cipher + tag.to_bytes(16, "little")


def _times_x(value):
    return (value << 1 ^ 0x11B) & 0xFF if value & 0x80 else value << 1


def _make_sbox():
    # Powers of the generator 3 and their inverses, then the affine map.
    p = q = 1
    sbox = [0] * 256
    while True:
        p ^= _times_x(p)
        q ^= q << 1
        q ^= q << 2
        q ^= q << 4
        q &= 0xFF
        if q & 0x80:
            q ^= 0x09
        x = q ^ (q << 1 | q >> 7) ^ (q << 2 | q >> 6) ^ (q << 3 | q >> 5) ^ (q << 4 | q >> 4)
        sbox[p] = (x ^ 0x63) & 0xFF
        if p == 1:
            break
    sbox[0] = 0x63
    return sbox


_SBOX = _make_sbox()


def _expand(key):
    words = [list(key[i : i + 4]) for i in range(0, 32, 4)]
    constant = 1
    for i in range(8, 60):
        word = words[i - 1][:]
        if i % 8 == 0:
            word = [_SBOX[b] for b in word[1:] + word[:1]]
            word[0] ^= constant
            constant = _times_x(constant)
        elif i % 8 == 4:
            word = [_SBOX[b] for b in word]
        words.append([x ^ y for x, y in zip(words[i - 8], word)])
    return [sum(words[i : i + 4], []) for i in range(0, 60, 4)]


def _aes_block(keys, block):
    state = [x ^ y for x, y in zip(block, keys[0])]
    for rounds in range(1, 15):
        state = [_SBOX[state[(i + 4 * (i % 4)) % 16]] for i in range(16)]
        if rounds < 14:
            mixed = []
            for c in range(0, 16, 4):
                column = state[c : c + 4]
                every = column[0] ^ column[1] ^ column[2] ^ column[3]
                mixed += [column[i] ^ every ^ _times_x(column[i] ^ column[(i + 1) % 4]) for i in range(4)]
            state = mixed
        state = [x ^ y for x, y in zip(state, keys[rounds])]
    return bytes(state)


def _multiply(x, y):
    product = 0
    for bit in range(127, -1, -1):
        if y >> bit & 1:
            product ^= x
        x = x >> 1 ^ 0xE1 << 120 if x & 1 else x >> 1
    return product


def _gcm(key, nonce, plain):
    keys = _expand(key)
    h = int.from_bytes(_aes_block(keys, bytes(16)), "big")
    stream = b"".join(
        _aes_block(keys, nonce + struct.pack(">I", 2 + i)) for i in range((len(plain) + 15) // 16)
    )
    cipher = bytes(x ^ y for x, y in zip(plain, stream))
    total = 0
    text = _padded(cipher) + struct.pack(">QQ", 0, len(cipher) * 8)
    for at in range(0, len(text), 16):
        total = _multiply(total ^ int.from_bytes(text[at : at + 16], "big"), h)
    mask = int.from_bytes(_aes_block(keys, nonce + struct.pack(">I", 1)), "big")
    return cipher + (total ^ mask).to_bytes(16, "big")
