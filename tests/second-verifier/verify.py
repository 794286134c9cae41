#!/usr/bin/env python3
"""A second verifier, written from docs/ledger-format.md alone, in another language than the first.

It shares no code with auditctl: Python's standard library, and the `openssl` program for Ed25519 (a signature check is
nothing to write by hand). Where it and auditctl disagree, one of them or the document is wrong.

    verify.py --key NAME+HASH+BASE64 [--checkpoint FILE] DIRECTORY...

One line per ledger; ends with 0 if all are verified, 1 if one is broken, 3 if one could not be evaluated.
"""
import argparse, base64, functools, hashlib, json, pathlib, re, struct, subprocess, sys, tempfile

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
    try: note = note.decode()
    except UnicodeDecodeError: raise Broken("the head is not UTF-8")
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n") or any(ord(c) < 32 and c != "\n" or c == "\x7f" for c in note): raise Broken("not a signed note")
    signatures = []
    for line in lines[:-1].split("\n"):
        match = re.fullmatch(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})", line)
        try: raw = base64.b64decode(match[2], validate=True)
        except Exception: raise Broken("not a signature line")
        if len(raw) < 5 or base64.b64encode(raw).decode() != match[2]: raise Broken("not a signature line")
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
    return bool(known) and all(known)

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

# --- section 16: the pruned beginning

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

def pruned_beginning(data, record_seen, at_size):
    """(head, note, peaks, leaf hash of the last record, what a record must declare)"""
    if not data.endswith(b"\n"): raise Broken("the pruned beginning does not end")
    lines = data[:-1].split(b"\n")
    first = json_line(lines[0], "pruned")
    if isinstance(first, dict) and type(first.get("format")) is int and first["format"] != 1: raise Newer("a pruned beginning of another format")
    if not isinstance(first, dict) or set(first) != {"checkpoint", "format", "recorded_from"} or type(first["recorded_from"]) is not int \
            or type(first["checkpoint"]) is not str or set(json_line(lines[0])) != {"pruned"}: raise Broken("not the head of a pruned beginning")
    note = first["checkpoint"].encode()
    head, size, peaks, leaf, sealable = parse_head(note), 0, [], bytes(32), False
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
        if sealable := not line.startswith(b'{"omitted":'):
            try: record = parse_record(line)
            except Newer as error: raise Broken(f"record {size}: {error}")
            if record["seq"] != size or leaf is not None and record["prev"] != leaf.hex(): raise Broken(f"record {size} is not in its place")
            record_seen(record)
            leaf, count = sha(b"\x00", line), 1
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
    return head, note, peaks, leaf, {"size": size, "root": head[2].hex(), "digest": digest.hexdigest()}

# --- section 9: the ledger

def known_heads(directory, checkpoint, keys):
    """[(size, root, origin)], whether one is foreign, whether a given one cannot be used"""
    known, foreign, unusable = [], False, False
    slots, path = [], directory / "head"
    for slot in (path.read_bytes()[at:at + 4096] for at in (0, 4096)) if path.exists() else ():
        try:
            found = frame(slot, 0, (b"SPH1",))
            if found and found != "unfinished" and found[2] and not any(slot[found[3]:]): slots.append(parse_head(found[1]))
        except (Broken, Newer): pass
    heads = [max(slots, key=lambda head: head[1])] if slots else []
    if checkpoint:
        try: heads.append(parse_head(checkpoint.read_bytes()))
        except Broken: unusable = True
    for head in heads:
        if signed(head, keys): known.append((head[1], head[2], head[0]))
        else: foreign = True
    return known, foreign, unusable

def verify(directory, checkpoint, keys):
    known, foreign, unusable = known_heads(directory, checkpoint, keys)
    files = sorted(p for p in (directory / "journal").glob("*.seg") if re.fullmatch(r"\d{20}\.seg", p.name, re.A)) if (directory / "journal").is_dir() else []
    size, prev, peaks, note, origin, last_time, created = 0, bytes(32), [], b"", None, "", None
    roots, false_signature, clock, newer = {0: root([])}, False, True, None
    def seen(record):
        nonlocal created, clock, last_time
        if record["seq"] == 0: created = record
        clock &= record["time"] >= last_time or record["kind"] == "clock.jumped"
        last_time = record["time"]
    wanted, pruned = None, directory / "journal" / "pruned"
    if pruned.exists():
        def mark(at, over): roots[at] = root(over)
        head, note, peaks, prev, wanted = pruned_beginning(pruned.read_bytes(), seen, mark)
        size, origin, false_signature = head[1], head[0].encode(), not signed(head, keys)
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
                if origin is None: origin = header[2]
                if header != (size, prev, origin, peaks, note) or file.name != f"{size:020}.seg": raise Broken(f"{file.name} does not go on")
                continue
            if reader.number(8) != size: raise Broken("another record stands in its place")
            count = reader.number(4)
            if not count: raise Broken("a group without records")
            for _ in range(count):
                length, sealed = reader.number(2), reader.number(4)
                data_of_record = reader.take(length)
                reader.take(sealed)
                try:
                    record = parse_record(data_of_record)
                    if record["seq"] != size or record["prev"] != prev.hex(): raise Broken(f"record {size} is not in its place")
                    seen(record)
                    if wanted and record["kind"] == "retention.pruned" and {k: record.get("details", {}).get(k) for k in wanted} == wanted: wanted = None
                except Newer as error: newer = newer or error
                prev = sha(b"\x00", data_of_record)
                push(peaks, size, prev)
                size += 1
                roots[size] = root(peaks)
            note = reader.string()
            reader.end()
            head = parse_head(note)
            if head[0].encode() != origin or (head[1], head[2]) != (size, roots[size]): raise Broken(f"the head after record {size - 1} does not fit")
            false_signature |= not signed(head, keys)
            if newer: raise Broken("a false signature") if false_signature else newer
            if not sound: raise Broken("the checksum of a group is wrong")
    complete = bool(known) and not unusable and size > 0
    if wanted: raise Broken("no record declares the pruned beginning")
    for known_size, known_root, known_origin in known:
        if pruned.exists() and known_size < pruned_size and known_size not in roots:
            complete &= not checkpoint
            continue
        if roots.get(known_size) != known_root or size and known_origin.encode() != origin: raise Broken("the head file or checkpoint does not fit")
    if false_signature or not clock or foreign and size: raise Broken("a false signature, a foreign head, or time running backwards")
    if size == 0: return "not evaluated"
    details = (created or {}).get("details", {})
    names = [f"{name}+{id_.hex()}+{base64.b64encode(bytes([1]) + key).decode()}" for name, id_, key in keys]
    if not created or created["kind"] != "ledger.created" or details.get("origin", "").encode() != origin or details.get("key") not in names:
        raise Broken("record 0 does not name the origin and a given key")
    return "verified" if complete else "not evaluated"

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--key", action="append", required=True)
    parser.add_argument("--checkpoint", type=pathlib.Path)
    parser.add_argument("directories", nargs="+", type=pathlib.Path)
    arguments = parser.parse_args()
    keys, codes = [parse_key(key) for key in arguments.key], set()
    for directory in arguments.directories:
        try: verdict = verify(directory, arguments.checkpoint, keys)
        except Broken as error: verdict = f"broken: {error}"
        except Newer as error: verdict = f"not evaluated: {error}"
        print(f"{directory}: {verdict}")
        codes.add({"v": 0, "b": 1, "n": 3}[verdict[0]])
    return 1 if 1 in codes else max(codes)

sys.exit(main())
