#!/usr/bin/env python3
"""A second verifier, written from docs/ledger-format.md alone, in another language than the first.

It shares no code with auditctl: Python's standard library, and the `openssl` program for Ed25519 (a signature check is
nothing to write by hand). Where it and auditctl disagree, one of them or the document is wrong.

    verify.py --key NAME+HASH+BASE64 [--cosigner NAME+HASH+BASE64] [--checkpoint FILE] [--accept-epoch N:FIRST:LEAFHASH] DIRECTORY...

With --cosigner, which needs Python's `cryptography` with ML-DSA (`scripts/prepare test` installs it), the line ends with whether each of these has cosigned
a head of the ledger, itself or by a key that took its place (section 15).

One line per ledger; ends with 0 if all are verified, 1 if one is broken, 3 if one could not be evaluated.
"""
import argparse, base64, functools, hashlib, json, pathlib, re, struct, subprocess, sys, tempfile, unicodedata

KINDS = set(re.findall(r"^\| `([a-z]+\.[a-z]+)` \|", (pathlib.Path(__file__).parents[2] / "docs/ledger-format.md").read_text(), re.M))
REQUIRED = {"v": int, "seq": int, "time": str, "prev": str, "kind": str, "result": str, "node": str}
OPTIONAL = {k: str for k in ("action", "object", "session", "grant", "policy", "correlation")} | {"personal": dict, "details": dict}
PERSONAL = {"agent", "path", "reason", "source", "subject", "target"}
HEX = re.compile(r"[0-9a-f]{64}\Z")
TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.\d{9}Z\Z", re.A)
PRIME = 2**255 - 19
# The y coordinates of the eight points of small order (section 5).
SMALL_ORDER = {0, 1, PRIME - 1, 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826,
               0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd83d3d706a17c7}

class Broken(Exception): pass
class Forged(Broken): pass
class Newer(Exception): pass

def sha(*parts): return hashlib.sha256(b"".join(parts)).digest()

def crc32c(data, table=[]):
    if not table:
        for n in range(256):
            for _ in range(8): n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
            table.append(n)
    crc = 0xFFFFFFFF
    for byte in data: crc = table[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF

# --- section 5: keys, notes, heads

def weak(point):
    y = int.from_bytes(point, "little") & (1 << 255) - 1
    return y >= PRIME or y in SMALL_ORDER

def parse_key(text):
    name, hash_, encoded = text.split("+", 2)
    raw = base64.b64decode(encoded, validate=True)
    if len(raw) != 33 or raw[0] != 1 or sha(name.encode(), b"\n", raw)[:4].hex() != hash_ or weak(raw[1:]):
        raise SystemExit(f"not a key that can be trusted: {text}")
    return name, bytes.fromhex(hash_), raw[1:]

@functools.cache
def ed25519(key, message, signature):
    if len(signature) != 64 or weak(signature[:32]): return False
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder, name) for name in ("key", "message", "signature")]
        for path, data in zip(paths, (bytes.fromhex("302a300506032b6570032100") + key, message, signature)): path.write_bytes(data)
        return subprocess.run(["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey", paths[0], "-in", paths[1],
                               "-sigfile", paths[2]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

def parse_head(note):
    """(origin, size, root, text, [(name, hash, signature)])"""
    if len(note) > 131072: raise Broken("the note is too long")
    try: note = note.decode()
    except UnicodeDecodeError: raise Broken("the head is not UTF-8")
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n") or any(unicodedata.category(c) == "Cc" and c != "\n" for c in note): raise Broken("not a signed note")
    signatures, lines = [], lines[:-1].split("\n")
    if len(lines) > 64: raise Broken("too many signatures")
    for line in lines:
        match = re.fullmatch(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})", line)
        try: raw = base64.b64decode(match[2], validate=True)
        except Exception: raise Broken("not a signature line")
        if len(raw) < 5 or len(match[1].encode()) > 255 or base64.b64encode(raw).decode() != match[2]: raise Broken("not a signature line")
        signatures.append((match[1], raw[:4], raw[4:]))
    try:
        origin, size, root = text.split("\n")
        raw = base64.b64decode(root, validate=True)
    except Exception: raise Broken("not a checkpoint of three lines")
    if not 1 <= len(origin.encode()) <= 255 or not re.fullmatch(r"0|[1-9][0-9]{0,19}", size) or int(size) >= 2**64 or len(raw) != 32 \
            or base64.b64encode(raw).decode() != root: raise Broken("not a checkpoint")
    return origin, int(size), raw, (text + "\n").encode(), signatures

def signed(head, keys):
    known = [ed25519(key, head[3], signature) for name, id_, key in keys for n, i, signature in head[4] if (n, i) == (name, id_)]
    if not all(known): raise Forged("a false signature")
    return bool(known)

def signed_by(head, keys):
    try: return signed(head, keys)
    except Forged: return False

class Signers:
    """Section 9, who may sign: the ledger's own keys with the sizes that each may sign, and the key that one of them has lent to."""
    def __init__(self, given): self.given, self.own, self.delegates, self.lent, self.anchored = given, [], [], None, False

    def head(self, head, records, before=None):
        """Judges the head over the group of these records, and takes in what they say. If there is none any more, `before` is the last that is there."""
        size, rotation, delegation, resumed = head[1], None, None, None
        signed(head, self.given)
        for record in records:
            if rotation: raise Forged("a record behind a rotation in its group")
            details = record.get("details", {})
            if record["kind"] == "ledger.resumed" and "key" in details: resumed = record["seq"], named_or_none(details["key"])
            if record["result"] != "success" or details.get("role") != "ledger": continue
            try:
                if record["kind"] == "key.rotated": rotation = named(details["old"]), named(details["new"])
                if record["kind"] == "key.delegated":
                    delegation = named(details["key"]), moment(details["not_after"]), details["heads"]
                    life = delegation[1] - moment(record["time"])
                    if type(delegation[2]) is not int or delegation[2] < 1 or not 0 <= life <= 86400 * 10**9: raise ValueError
            except (KeyError, TypeError, ValueError, AttributeError): raise Forged("a rotation or delegation that is not one")
        if resumed:  # an epoch under a key that no record before names: nobody before vouches for it
            kept, key = resumed
            if not key or not signed(head, [key]) or not self.own or key in [k for k, *_ in self.own] or rotation or delegation: raise Forged("a false successor")
            if self.lent: self.lent, self.delegates[-1][2] = None, kept
            self.own[-1][2] = kept
            self.own.append([key, kept, None])
            self.anchored = key in self.given
            return
        if self.own: office = self.own[-1][0]
        else:
            first = [k for k in [records and records[0]["kind"] == "ledger.created" and named_or_none(records[0].get("details", {}).get("key"))] if k]
            office = next((key for key in first + self.given if signed(head, [key])), None)
            if not office: raise Forged("a head of an unknown key")
        by_own, last = signed(head, [office]), records[-1] if records else before
        if (rotation or delegation or any(record["kind"] == "ledger.resumed" for record in records)) and not by_own: raise Forged("keys are changed without the key in office")
        if rotation and (rotation[0] != office or rotation[1] == office or rotation[1] in [key for key, *_ in self.own]): raise Forged("a rotation of another key")
        if rotation and not signed(head, [rotation[1]]): raise Forged("a rotation that the new key has not signed")
        if delegation and delegation[0][0] != office[0] + "/delegate": raise Forged("a lent key by another name")
        if not by_own:
            if not self.lent or not signed(head, [self.lent[0]]) or self.lent[2] < 1 or not last or moment(last["time"]) > self.lent[1]:
                raise Forged("a head of a key that may not sign it")
            self.lent[2] -= 1
        if not self.own: self.own.append([office, 0, None])
        self.anchored |= by_own and office in self.given
        over = self.lent and last and moment(last["time"]) > self.lent[1]
        if (rotation or delegation or over) and self.lent: self.lent, self.delegates[-1][2] = None, size
        if delegation: self.lent = list(delegation); self.delegates.append([delegation[0], size, None])
        if rotation:
            if self.lent: self.lent, self.delegates[-1][2] = None, size  # lent in the same group
            self.own[-1][2] = size
            self.own.append([rotation[1], size - 1, None])
            self.anchored |= rotation[1] in self.given

    def statement(self, head, named=False):
        """Whether a head that lies elsewhere is by a key that may have signed it."""
        in_office = lambda tenure: head[1] > tenure[1] and (tenure[2] is None or head[1] <= tenure[2])
        keys = [key for key in self.given if not any(tenure[0] == key and not in_office(tenure) for tenure in self.own)]
        if self.anchored or named: keys += [tenure[0] for tenure in self.own + self.delegates if in_office(tenure)]
        try: return signed(head, keys)
        except Forged: return False

# --- section 15: who has cosigned

HANDOVER = "sallyport/1 ledger cosigner handover"

@functools.cache
def cosigner(text):
    """(name, hash, type, key)"""
    try:
        name, hash_, encoded = text.split("+", 2)
        raw = base64.b64decode(encoded, validate=True)
    except (ValueError, AttributeError): raise ValueError
    if (raw[:1], len(raw)) not in ((b"\4", 33), (b"\6", 1313)) or sha(name.encode(), b"\n", raw)[:4].hex() != hash_: raise ValueError
    if raw[0] == 4 and weak(raw[1:]): raise ValueError
    return name, bytes.fromhex(hash_), raw[0], raw[1:]

@functools.cache
def has_signed(text, message, signature):
    _, _, kind, key = cosigner(text)
    if kind == 4: return ed25519(key, message, signature)
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
    try: MLDSA44PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError): return False
    return True

def cosigned_by(text, head):
    """Whether this key has cosigned the head; a line of it that is false spoils the note."""
    name, id_, kind, _ = cosigner(text)
    lines = [signature for n, i, signature in head[4] if (n, i) == (name, id_)]
    for line in lines:
        time, signature = line[:8], line[8:]
        if kind == 4: message = f"cosignature/v1\ntime {int.from_bytes(time)}\n".encode() + head[3]
        else:
            origin = head[0].encode()
            message = b"subtree/v1\n\0" + bytes([len(name.encode())]) + name.encode() + time + bytes([len(origin)]) + origin + bytes(8) + head[1].to_bytes(8) + head[2]
        if len(time) < 8 or not has_signed(text, message, signature): raise Forged("a false cosignature")
    return bool(lines)

def handover(record):
    """(old key, new key, how many records there are with this one), if the old key has signed it"""
    said = record.get("details", {})
    if record["kind"] != "key.rotated" or record["result"] != "success" or said.get("role") != "ledger-pq": return None
    try:
        old, new, signature = said["old"], said["new"], base64.b64decode(said["signature"], validate=True)
        cosigner(old), cosigner(new)
        return (old, new, record["seq"] + 1) if has_signed(old, f"{HANDOVER}\n{old}\n{new}\n".encode(), signature) else None
    except (KeyError, TypeError, ValueError, AttributeError): return None

def speaking_for(given, handovers):
    """The keys that speak for it, itself first, each with the smallest and the largest head that it may cosign"""
    key = given
    for _ in range(len(handovers) + 1):
        came = next((size for _, new, size in handovers if new == key), 0)
        gone = next(((new, size) for old, new, size in handovers if old == key), None)
        yield key, came, gone[1] if gone else 2**64
        if not gone: return
        key = gone[0]

def named(text):
    try: return parse_key(text)
    except (SystemExit, ValueError, AttributeError): raise ValueError

def named_or_none(text):
    try: return named(text)
    except ValueError: return None

def moment(text):
    """Nanoseconds."""
    import calendar, datetime
    if not valid_time(text): raise ValueError
    return calendar.timegm(datetime.datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").timetuple()) * 10**9 + int(text[20:29])

# --- section 6: frames

def frame(data, at, magics):
    """(magic, body, body's checksum is right, end); None at the end of the file; "unfinished"."""
    front = data[at:at + 16]
    if not front: return None
    if len(front) < 16: return "unfinished"
    magic, length, body_crc, front_crc = struct.unpack("<4sIII", front)
    if crc32c(front[:12]) != front_crc: raise Broken("the first sixteen bytes of a frame are damaged")
    if magic not in (b"SPS1", b"SPG1", b"SPH1"): raise Newer(f"unknown frame {magic}")
    if length > 67108864: raise Broken("a frame is too long")
    body = data[at + 16:at + 16 + length]
    if len(body) < length: return "unfinished"
    if magic not in magics: raise Broken("a frame of another kind")
    return magic, body, crc32c(body) == body_crc, at + 16 + length

class Reader:
    def __init__(self, data): self.data, self.at = data, 0
    def take(self, n):
        if self.at + n > len(self.data): raise Broken("lengths do not fit together")
        self.at += n
        return self.data[self.at - n:self.at]
    def number(self, n): return int.from_bytes(self.take(n), "little")
    def string(self): return self.take(self.number(4))
    def end(self):
        if self.at != len(self.data): raise Broken("lengths do not fit together")

# --- section 2: records

def canonical(value):
    if isinstance(value, dict):
        return "{" + ",".join(canonical(k) + ":" + canonical(value[k]) for k in sorted(value, key=lambda k: k.encode("utf-16-be"))) + "}"
    if isinstance(value, list): return "[" + ",".join(map(canonical, value)) + "]"
    return json.dumps(value, ensure_ascii=False)

def unique(pairs):
    if len({k for k, _ in pairs}) != len(pairs): raise Broken("a key twice")
    return dict(pairs)

def refuse(text): raise Broken(f"the number {text}")

def check_details(value, depth=0):
    if isinstance(value, (dict, list)):
        if depth > 8: raise Broken("details are nested too deep")
        for child in (value.values() if isinstance(value, dict) else value): check_details(child, depth + 1)
    elif isinstance(value, int) and not -(2**53) < value < 2**53: raise Broken("a number that is too large")

def parse_record(data):
    if len(data) > 65535: raise Broken("too long")
    try: record = json.loads(data.decode(), object_pairs_hook=unique, parse_float=refuse, parse_constant=refuse)
    except (ValueError, RecursionError) as error: raise Broken(f"not JSON: {error}")
    if not isinstance(record, dict): raise Broken("not an object")
    version = record.get("v")
    if type(version) is int and version >= 0 and version != 1: raise Newer(f"record format {version}")
    if set(REQUIRED) - set(record) or set(record) - set(REQUIRED) - set(OPTIONAL): raise Broken("keys missing or unknown")
    if any(type(value) is not (REQUIRED | OPTIONAL)[key] for key, value in record.items()): raise Broken("a value of another type")
    if record["kind"] not in KINDS or record["result"] not in ("success", "denied", "failure"): raise Broken("unknown kind or result")
    if not HEX.match(record["prev"]) or not valid_time(record["time"]): raise Broken("prev or time")
    personal = record.get("personal", {"agent": "0" * 64})
    if not personal or set(personal) - PERSONAL or not all(isinstance(v, str) and HEX.match(v) for v in personal.values()): raise Broken("personal")
    if record.get("details") == {}: raise Broken("empty details")
    check_details(record.get("details", {}))
    try: same = canonical(record).encode() == data
    except UnicodeEncodeError: same = False
    if not same: raise Broken("not in canonical form")
    return record

def valid_time(text):
    import datetime
    match = TIME.match(text)
    try: return bool(match) and bool(datetime.datetime(*map(int, match.groups())))
    except ValueError: return False

# --- section 4: the tree

def push(peaks, size, leaf):
    while size & 1:
        leaf, size = sha(b"\x01", peaks.pop(), leaf), size >> 1
    peaks.append(leaf)

def root(peaks):
    if not peaks: return sha()
    result = peaks[-1]
    for peak in peaks[-2::-1]: result = sha(b"\x01", peak, result)
    return result

# --- section 19: the pruned beginning

def tallest(first, size):
    if first + 1 == size: return 0
    for level in range(2, 8):
        if first >= size >> 8 * level << 8 * level: return 8 * (level - 1)
    return 56

def json_line(line, *keys):
    try: value = json.loads(line.decode(), object_pairs_hook=unique, parse_float=refuse, parse_constant=refuse)
    except ValueError as error: raise Broken(f"not JSON: {error}")
    for key in keys:
        if not isinstance(value, dict) or key not in value: raise Broken("not a line of a pruned beginning")
        value = value[key]
    return value

def pruned_beginning(data, record_seen, head_seen, at_size):
    """(head, note, peaks, leaf hash of the last record, what a record must declare)"""
    if not data.endswith(b"\n"): raise Broken("the pruned beginning does not end")
    lines = data[:-1].split(b"\n")
    first = json_line(lines[0], "pruned")
    if isinstance(first, dict) and type(first.get("format")) is int and first["format"] != 1: raise Newer("a pruned beginning of another format")
    if not isinstance(first, dict) or set(first) != {"checkpoint", "format", "recorded_from"} or type(first["recorded_from"]) is not int \
            or type(first["checkpoint"]) is not str or set(json_line(lines[0])) != {"pruned"}: raise Broken("not the head of a pruned beginning")
    note = first["checkpoint"].encode()
    head, size, peaks, leaf, sealable, covered = parse_head(note), 0, [], bytes(32), False, 0
    digest = hashlib.sha256(lines[0] + b"\n")
    for line in lines[1:]:
        if line.startswith(b'{"sealed":'):
            if not sealable or set(json_line(line)) != {"sealed"} or not json_line(line, "sealed"): raise Broken("sealed values of nothing")
            try: base64.b64decode(json_line(line, "sealed"), validate=True)
            except Exception: raise Broken("sealed values")
            sealable = False
            continue
        digest.update(line + b"\n")
        if size >= head[1]: raise Broken("more lines than the head covers")
        if line.startswith(b'{"head":'):
            if set(json_line(line)) != {"head"} or type(json_line(line, "head")) is not str: raise Broken("not a head")
            within = parse_head(json_line(line, "head").encode())
            if size <= covered or (within[1], within[2]) != (size, root(peaks)): raise Broken("a head within the pruned beginning does not fit")
            covered, sealable = size, False
            head_seen(within)
            continue
        if sealable := not line.startswith(b'{"omitted":'):
            try: record = parse_record(line)
            except Newer as error: raise Broken(f"record {size}: {error}")
            if record["seq"] != size or leaf is not None and record["prev"] != leaf.hex(): raise Broken(f"record {size} is not in its place")
            leaf, count = sha(b"\x00", line), 1
            record_seen(record, leaf)
            push(peaks, size, leaf)
        else:
            run = json_line(line, "omitted")
            if set(json_line(line)) != {"omitted"} or set(run) != {"count", "first", "root"} or not HEX.match(str(run["root"])): raise Broken("not a run")
            count = run["count"]
            if type(count) is not int or count < 1 or count & (count - 1) or run["first"] != size or size % count or size + count > head[1] \
                    or count.bit_length() - 1 > tallest(size, head[1]): raise Broken("a run that cannot be")
            push(peaks, size // count, bytes.fromhex(run["root"]))
            leaf = bytes.fromhex(run["root"]) if count == 1 else None
        size += count
        at_size(size, peaks)
    if not size or size != head[1] or root(peaks) != head[2] or leaf is None: raise Broken("the pruned beginning does not lead to its head")
    head_seen(head)
    return head, note, peaks, leaf, {"size": size, "root": head[2].hex(), "digest": digest.hexdigest()}

# --- section 9: what is known of the ledger

def known_heads(directory, checkpoint):
    """The heads that lie elsewhere, each with whether it says enough about the end if it covers not all; whether a given one cannot be used"""
    unusable = False
    slots, path = [], directory / "head"
    for slot in (path.read_bytes()[at:at + 4096] for at in (0, 4096)) if path.exists() else ():
        try:
            found = frame(slot, 0, (b"SPH1",))
            if found and found != "unfinished" and found[2] and not any(slot[found[3]:]): slots.append(parse_head(found[1]))
        except (Broken, Newer): pass
    heads = [(max(slots, key=lambda head: head[1]), True)] if slots else []
    for path in (directory / "cosigned", directory / "witnessed"):
        try: heads += [(parse_head(path.read_bytes()), False)] if path.exists() else []
        except Broken: pass
    if checkpoint:
        try: heads.append((parse_head(checkpoint.read_bytes()), True))
        except Broken: unusable = True
    return heads, unusable

# --- section 16: epochs

CAUSES = {"end-missing", "damaged", "head-lost", "forked", "restored"}

def split(origin):
    match = re.fullmatch(r"(.*)#([2-9]|[1-9][0-9]+)", origin, re.S | re.A)
    return (match[1], int(match[2])) if match and int(match[2]) < 2**64 else (origin, 1)

def number(value):
    if type(value) is not int or value < 0: raise Broken("not a number of records or of an epoch")
    return value

def declaration(record, first, current, signers):
    """(epoch, its origin, first missing record, how many are known to be missing, root of the lost head)"""
    said = record.get("details", {})
    missing, lost = said.get("missing"), said.get("lost_head")
    if any(type(said.get(key)) is not str for key in ("origin", "origin_before", "cause", "set_aside", "tokens")) or not isinstance(missing, dict) \
            or said["cause"] not in CAUSES or said["tokens"] not in ("kept", "ended"): raise Broken("a declaration that says too little")
    epoch, first_missing, at_least = number(said.get("epoch")), number(missing.get("first")), number(missing.get("at_least"))
    (base, before), (known, now), head = split(said["origin_before"]), split(current or said["origin_before"]), None
    if base != known or said["origin"] != f"{base}#{epoch}" or split(said["origin"])[1] != before + 1 or before < now: raise Broken("a false epoch")
    if lost is not None:
        if type(lost) is not str: raise Broken("no lost head")
        head = parse_head(lost.encode())
        successor = [key] if (key := named_or_none(said.get("key"))) else []
        if not signers.statement(head, True) and not signed_by(head, successor) or head[0] != said["origin_before"]: raise Broken("a false lost head")
    elif before > now: raise Broken("an epoch is skipped")
    if first_missing != first or at_least != max(0, (head[1] if head else 0) - first): raise Broken("a false range")
    return epoch, said["origin"], first, at_least, head and head[2]

def fits_known(known_size, known_root, known_origin, epochs, roots):
    """Whether a head from elsewhere is one of this ledger, or of a gap that it declares."""
    (base, epoch), (known, now) = split(known_origin), split(epochs[-1][1])
    if base != known or epoch > now: return False
    for later, _, _, gap in epochs:
        if later > epoch and gap and known_size > gap[2]:
            return known_size < gap[2] + gap[3] or known_size == gap[2] + gap[3] and known_root == (gap[4] or known_root)
    named = [origin for _, origin, start, _ in epochs if start < known_size or start == 0][-1]
    return named == known_origin and roots.get(known_size) == known_root

# --- section 9: the ledger, all of it

def verify(directory, checkpoint, keys, accepted, cosigners=()):
    heads, unusable = known_heads(directory, checkpoint)
    signers = Signers(keys)
    files = sorted(p for p in (directory / "journal").glob("*.seg") if re.fullmatch(r"\d{20}\.seg", p.name, re.A)) if (directory / "journal").is_dir() else []
    size, prev, peaks, note, origin, last_time, created = 0, bytes(32), [], b"", None, "", None
    roots, false_signature, clock, newer = {0: root([])}, False, True, None
    handovers = []
    epochs, announced, loose, group = [], None, False, []  # an epoch: number, origin, first record, what was declared
    def begins(name):
        nonlocal epochs, announced
        if announced: raise Broken("an epoch without a record")
        if not epochs: epochs = [(split(name)[1], name, 0, None)]
        elif name != epochs[-1][1]:
            if split(name)[0] != split(epochs[-1][1])[0] or split(name)[1] <= epochs[-1][0]: raise Broken("another ledger")
            announced = name
    def seen(record, leaf):
        nonlocal created, clock, last_time, epochs, announced, wanted
        seq, details = record["seq"], record.get("details", {})
        if seq == 0: created = record
        anew = seq == 1 and bool(epochs) and epochs[0][0] > 1
        if loose and (seq == 0 or record["kind"] == "ledger.resumed" and not anew):
            if type(details.get("origin")) is not str: raise Broken("no origin")
            begins(details["origin"])
        if announced or anew or record["kind"] == "ledger.resumed":
            if not (announced or anew) or record["kind"] != "ledger.resumed": raise Broken("an epoch that is not declared")
            gap = declaration(record, 0 if anew else seq, None if anew else epochs[-1][1], signers) + (leaf,)
            if gap[1] != (announced or epochs[0][1]): raise Broken("another epoch is declared")
            epochs = epochs[:-1] + [(gap[0], gap[1], 0, gap)] if anew else epochs + [(gap[0], gap[1], seq, gap)]
            announced = None
        if wanted and record["kind"] == "retention.pruned" and {k: details.get(k) for k in wanted} == wanted: wanted = None
        if cosigners and (told := handover(record)) and told[:2] not in [known[:2] for known in handovers]: handovers.append(told)
        clock &= record["time"] >= last_time or record["kind"] == "clock.jumped"
        last_time = record["time"]
        group.append(record)
    def head_within(head):
        nonlocal group, last_kept, false_signature
        if epochs and head[0] != epochs[-1][1]: raise Broken("a head of another origin")
        last_kept = group[-1] if group else last_kept
        try: signers.head(head, group, last_kept)
        except Forged: false_signature = True
        group = []
    wanted, last_kept, pruned = None, None, directory / "journal" / "pruned"
    if pruned.exists():
        def mark(at, over): roots[at] = root(over)
        loose = True
        head, note, peaks, prev, wanted = pruned_beginning(pruned.read_bytes(), seen, head_within, mark)
        loose, size, origin = False, head[1], head[0].encode()
        if epochs and epochs[0][0] > 1 and not epochs[0][3]: raise Broken("an epoch that is not declared")
        files = [file for file in files if int(file.name[:20]) >= size]
        pruned_size = size
    for file in files:
        data, is_last = file.read_bytes(), file == files[-1]
        at, first = 0, True
        while True:
            found = frame(data, at, (b"SPS1",) if first else (b"SPG1",))
            if found == "unfinished" and is_last: break
            if found is None and (not first or is_last): break
            if found in (None, "unfinished"): raise Broken(f"{file.name} ends within a frame")
            _, body, sound, at = found
            reader = Reader(body)
            if first:
                first = False
                if not sound: raise Broken(f"the header of {file.name} is damaged")
                version = reader.number(4)
                if version != 1: raise Newer(f"segment format {version}")
                header = reader.number(8), reader.take(32), reader.string(), [reader.take(32) for _ in range(reader.number(4))], reader.string()
                reader.end()
                name = header[2].decode(errors="replace")
                begins(name)
                origin = header[2]
                if header != (size, prev, origin, peaks, note) or file.name != f"{size:020}.seg": raise Broken(f"{file.name} does not go on")
                continue
            if reader.number(8) != size: raise Broken("another record stands in its place")
            count, group = reader.number(4), []
            if not count: raise Broken("a group without records")
            for _ in range(count):
                length, sealed = reader.number(2), reader.number(4)
                data_of_record = reader.take(length)
                reader.take(sealed)
                try:
                    record = parse_record(data_of_record)
                    if record["seq"] != size or record["prev"] != prev.hex(): raise Broken(f"record {size} is not in its place")
                    seen(record, sha(b"\x00", data_of_record))
                except Newer as error: newer = newer or error
                prev = sha(b"\x00", data_of_record)
                push(peaks, size, prev)
                size += 1
                roots[size] = root(peaks)
            note = reader.string()
            reader.end()
            head = parse_head(note)
            if head[0].encode() != origin or (head[1], head[2]) != (size, roots[size]): raise Broken(f"the head after record {size - 1} does not fit")
            try: signers.head(head, group)
            except Forged: false_signature = True
            if newer: raise Broken("a false signature") if false_signature or not signers.anchored else newer
            if not sound: raise Broken("the checksum of a group is wrong")
    false_signature |= size > 0 and not signers.anchored
    known = [(head[1], head[2], head[0], enough) for head, enough in heads if signers.statement(head)]
    foreign = len(known) < len(heads)
    complete = any(enough or epochs and (known_size, known_origin) == (size, epochs[-1][1]) for known_size, _, known_origin, enough in known) and not unusable and size > 0
    if wanted: raise Broken("no record declares the pruned beginning")
    for known_size, known_root, known_origin, _ in known:
        if pruned.exists() and known_size < pruned_size and known_size not in roots:
            complete &= not checkpoint
            continue
        if roots.get(known_size) != known_root if not epochs else not fits_known(known_size, known_root, known_origin, epochs, roots):
            raise Broken("the head file or checkpoint does not fit")
    if false_signature or not clock or foreign and size: raise Broken("a false signature, a foreign head, or time running backwards")
    allowed = max((gap[0] for *_, gap in epochs if gap and f"{gap[0]}:{gap[2]}:{gap[5].hex()}" in accepted), default=1)
    if any(epoch > allowed for epoch, _, _, gap in epochs if gap): raise Broken("a declared gap that was not accepted")
    if size == 0: return "not evaluated"
    details = (created or {}).get("details", {})
    name, id_, key = signers.own[0][0]
    if not created or created["kind"] != "ledger.created" or details.get("origin") != epochs[0][1] or details.get("key") != f"{name}+{id_.hex()}+{base64.b64encode(bytes([1]) + key).decode()}":
        raise Broken("record 0 does not name the origin and the key that signed first")
    verdict = "verified" if complete else "not evaluated"
    if not cosigners: return verdict
    ours = [head for head, _ in heads if signers.statement(head) and roots.get(head[1]) == head[2]]
    try: seen_by = [any(lo <= head[1] <= hi and cosigned_by(key, head) for key, lo, hi in speaking_for(given, handovers) for head in ours) for given in cosigners]
    except Forged: raise Broken("a false cosignature")
    return f"{verdict}, {'cosigned' if all(seen_by) else 'not cosigned'}"

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--key", action="append", required=True)
    parser.add_argument("--cosigner", action="append", default=[])
    parser.add_argument("--checkpoint", type=pathlib.Path)
    parser.add_argument("--accept-epoch", action="append", default=[])
    parser.add_argument("directories", nargs="+", type=pathlib.Path)
    arguments = parser.parse_args()
    keys, codes = [parse_key(key) for key in arguments.key], set()
    for key in arguments.cosigner:
        try: cosigner(key)
        except ValueError: raise SystemExit(f"not a cosigner's key: {key}")
    for directory in arguments.directories:
        try: verdict = verify(directory, arguments.checkpoint, keys, arguments.accept_epoch, arguments.cosigner)
        except Broken as error: verdict = f"broken: {error}"
        except Newer as error: verdict = f"not evaluated: {error}"
        print(f"{directory}: {verdict}")
        codes.add({"v": 0, "b": 1, "n": 3}[verdict[0]])
    return 1 if 1 in codes else max(codes)

sys.exit(main())
