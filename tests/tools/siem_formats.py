"""Reads what sinks write with parsers and schemas that are not ours.

Input: a file with one JSON object a line: shape, kind, seq, leaf, text. Output: one problem a line; nothing, if there is none.
"""

import base64
import hashlib
import json
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import fastjsonschema
import pycef
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import HTTPMessageVerifier, MappingKeyResolver, algorithms
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from standardwebhooks import Webhook

HERE = Path(__file__).parent
ECS = json.loads((HERE / "ecs-fields.json").read_text())
OCSF = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.8.0"))
COMPILED = {}
PROBLEMS = []


def leaf(record):
    return hashlib.sha256(b"\0" + record.encode()).hexdigest()


def canonical(record):
    """RFC 8785, for what a record may hold: ASCII keys, texts and integers."""
    return json.dumps(json.loads(record), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def problem(item, what):
    PROBLEMS.append(f"{item['shape']} {item['kind']} {item['seq']}: {what}")


def flat(value, path=""):
    for key, inner in value.items():
        name = f"{path}.{key}" if path else key
        if isinstance(inner, dict):
            yield from flat(inner, name)
        else:
            yield name, inner


TYPES = {
    "date": str, "keyword": str, "wildcard": str, "match_only_text": str, "ip": str, "text": str,
    "constant_keyword": str, "long": int, "integer": int,
}


def ecs(item):
    event = json.loads(item["text"])
    for name, value in flat(event):
        if name.startswith("sallyport."):
            continue
        kind = ECS["fields"].get(name)
        if kind is None:
            problem(item, f"{name} is no field of ECS")
            continue
        values = value if name in ECS["arrays"] else [value]
        if not all(isinstance(one, TYPES[kind]) and not isinstance(one, bool) for one in values):
            problem(item, f"{name} is not a {kind}: {value!r}")
        for one in values:
            if name in ECS["allowed"] and one not in ECS["allowed"][name]:
                problem(item, f"{name} may not be {one!r}")
    expected = {kind for one in event["event"]["category"] for kind in ECS["expected"][one]}
    for one in event["event"]["type"]:
        if one not in expected:
            problem(item, f"event.type {one!r} is not expected in {event['event']['category']}")
    if not item["pointer"] and leaf(event["event"]["original"]) != item["leaf"]:
        problem(item, "event.original does not have the leaf hash")


def compiled(uid):
    """The class's JSON schema. The reader takes every `$` of a pattern for its end, also the one among the characters of a mail address."""
    def mended(value):
        if isinstance(value, dict):
            return {key: mended(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [mended(inner) for inner in value]
        return value.replace("#$%", r"#\x24%") if isinstance(value, str) else value

    if uid not in COMPILED:
        name = OCSF.lookup_class_name_from_uid(class_uid=uid)
        COMPILED[uid] = fastjsonschema.compile(mended(OCSF.get_class_schema(class_name=name, profiles=[])))
    return COMPILED[uid]


def ocsf(item):
    event = json.loads(item["text"])
    # The attestation is of a profile that no release has yet; it is looked at by itself.
    attestation = event.pop("attestation")
    assert event["metadata"]["profiles"].pop() == "record_integrity"
    uid = event["class_uid"]
    try:
        compiled(uid)(event)
    except fastjsonschema.JsonSchemaValueException as error:
        problem(item, error.message)
    if event["type_uid"] != uid * 100 + event["activity_id"] or event["category_uid"] != uid // 1000:
        problem(item, "type_uid or category_uid does not follow from the class")
    # objects/attestation.json and objects/fingerprint.json of the schema's main branch.
    known = {"uid", "authority_uid", "signatures", "fingerprint", "prev_event", "chain_uid"}
    if not set(attestation) <= known or not ({"fingerprint", "signatures"} & set(attestation)):
        problem(item, f"attestation has other members: {sorted(attestation)}")
    if not attestation["authority_uid"] == attestation["chain_uid"] == event["metadata"]["log_name"]:
        problem(item, "the attestation is of another ledger")
    if "signatures" in attestation:
        problem(item, "the ledger signs heads, and nothing over one event")
    if attestation["fingerprint"]["value"] != item["leaf"] or attestation["fingerprint"]["algorithm_id"] != 3:
        problem(item, "the attestation's fingerprint is not the leaf hash")
    if item["seq"] > 0 and attestation["prev_event"]["fingerprint"]["value"] != item["prev"]:
        problem(item, "the attestation's previous event is another")
    if not item["pointer"] and leaf(event["raw_data"]) != item["leaf"]:
        problem(item, "raw_data does not have the leaf hash")


def cef(item):
    event = pycef.parse(item["text"])
    if event is None:
        problem(item, "pycef reads nothing")
        return
    if event["DeviceEventClassID"] != item["kind"] or not 0 <= int(event["DeviceSeverity"]) <= 10:
        problem(item, f"the header is wrong: {event}")
    if (event["leaf"], event["externalId"]) != (item["leaf"], str(item["seq"])):
        problem(item, f"place is wrong: {event.get('leaf')} {event.get('externalId')}")
    if not item["pointer"]:
        record = event["sallyportRecord"].replace("\\=", "=").replace("\\\\", "\\")
        if leaf(canonical(record)) != item["leaf"]:
            problem(item, "the record in it does not have the leaf hash")


def leef(item):
    # No parser of LEEF is kept; this one follows the guide of its maker.
    header, _, rest = item["text"].partition("|x09|")
    version, vendor, product, _, kind = header.split("|")
    if (version, vendor, product, kind) != ("LEEF:2.0", "Sallyport", "Sallyport", item["kind"]):
        problem(item, f"the header is wrong: {header}")
    pairs = dict(pair.split("=", 1) for pair in rest.split("\t"))
    if "\n" in item["text"] or (pairs["leaf"], pairs["seq"]) != (item["leaf"], str(item["seq"])):
        problem(item, "place is wrong, or there is a line break")
    if not item["pointer"] and leaf(canonical(pairs["record"])) != item["leaf"]:
        problem(item, "the record in it does not have the leaf hash")


def plain(item):
    event = json.loads(item["text"])
    if (event["seq"], event["leaf"], event["kind"]) != (item["seq"], item["leaf"], item["kind"]):
        problem(item, "place is wrong")


def webhook(item):
    try:
        Webhook(item["secret"]).verify(item["text"].encode(), item["headers"])
    except json.JSONDecodeError:
        pass  # Read behind the signature, and as one object: ours are several.


def signed(item):
    """A request as it came, under the only key that is known."""
    line = base64.b64decode(item["key"].rsplit("+", 1)[1])
    assert line[0] == 1, "an Ed25519 key of a signed note"
    keys = MappingKeyResolver(public_keys={item["key"]: Ed25519PublicKey.from_public_bytes(line[1:])}, private_keys={})
    request = SimpleNamespace(method="POST", url=item["url"], headers=item["headers"])
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.ED25519, key_resolver=keys)
    verifier.verify(
        request, body=item["text"].encode(), max_age=timedelta(minutes=5), expect_tag="sallyport-webhook",
        require_components=("@method", "@authority", "@path", "content-type", "content-digest", "webhook-id"),
    )


CHECKS = {"ecs": ecs, "ocsf": ocsf, "cef": cef, "leef": leef, "json": plain, "webhook": webhook, "signed": signed, "rfc5424": lambda item: None}

count = 0
# Not `splitlines`: to Python a line also ends at U+2028.
for line in filter(None, Path(sys.argv[1]).read_text().split("\n")):
    item = json.loads(line)
    count += 1
    try:
        CHECKS[item["shape"]](item)
    except Exception as error:  # noqa: BLE001: whatever a parser trips over is a finding
        problem(item, f"{type(error).__name__}: {error}")
print("\n".join(PROBLEMS))
sys.exit(1 if PROBLEMS or count == 0 else 0)
