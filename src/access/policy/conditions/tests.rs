//! Conditions by themselves.

use std::collections::BTreeMap;

use super::*;
use crate::access::policy::faults::PolicyFaults;

fn read(text: &str) -> (BTreeMap<ConditionName, Arc<Condition>>, String) {
    let mut faults = PolicyFaults::default();
    let conditions = parse(text, &mut faults);
    (conditions, faults.to_string())
}

fn only(text: &str) -> Arc<Condition> {
    let (conditions, told) = read(text);
    assert!(told.contains("0 faults"), "{told}");
    conditions.into_values().next().unwrap()
}

fn now() -> Circumstances {
    Circumstances::at("2026-11-27T10:00:00Z".parse().unwrap())
}

#[test]
fn a_network_is_held_against_the_source_and_an_unknown_source_is_unknown() {
    let office = only("[condition.office]\nnetworks = [\"192.0.2.0/24\", \"2001:db8::/32\"]\n");
    let from = |source: &str| Circumstances { source: Some(source.parse().unwrap()), ..now() };
    for inside in ["192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7"] {
        assert_eq!(office.holds(&from(inside)), Truth::Holds, "{inside}");
    }
    for outside in ["192.0.3.7", "2001:db9::1", "::ffff:192.0.3.7"] {
        assert!(matches!(office.holds(&from(outside)), Truth::Fails(_)), "{outside}");
    }
    assert!(matches!(office.holds(&now()), Truth::Unknown(_)));
}

#[test]
fn a_device_is_needed_or_one_of_some() {
    let (one, two): (DeviceId, DeviceId) = (DeviceId::from_bytes([1; 16]), DeviceId::from_bytes([2; 16]));
    let with = |device| Circumstances { device: Some(device), ..now() };
    let any = only("[condition.own]\ndevice = \"enrolled\"\n");
    assert_eq!(any.holds(&with(one)), Truth::Holds);
    assert!(matches!(any.holds(&now()), Truth::Fails(_)));
    let listed = only(&format!("[condition.that]\ndevices = [\"{one}\"]\n"));
    assert_eq!(listed.holds(&with(one)), Truth::Holds);
    assert!(matches!(listed.holds(&with(two)), Truth::Fails(_)));
}

#[test]
fn a_transport_is_held_against_what_tls_agreed() {
    let needed =
        only("[condition.pq]\ntransport = \"post-quantum\"\nsuites = [\"TLS13_AES_256_GCM_SHA384\"]\n");
    let over = |group: &str, suite: &str| Circumstances {
        transport: Some(Transport { group: group.into(), suite: suite.into() }),
        ..now()
    };
    assert_eq!(needed.holds(&over("X25519MLKEM768", "TLS13_AES_256_GCM_SHA384")), Truth::Holds);
    assert!(matches!(needed.holds(&over("X25519", "TLS13_AES_256_GCM_SHA384")), Truth::Fails(_)));
    assert!(matches!(needed.holds(&over("X25519MLKEM768", "TLS13_AES_128_GCM_SHA256")), Truth::Fails(_)));
    assert!(matches!(needed.holds(&now()), Truth::Unknown(_)));
}

#[test]
fn a_tunnel_is_held_against_what_its_own_handshake_agreed() {
    const AES: &str = "x25519-mlkem768/ed25519-mldsa65/aes256gcm";
    const CHACHA: &str = "x25519-mlkem768/ed25519-mldsa65/chacha20poly1305";
    let through = |suite: &str, post_quantum| Circumstances {
        tunnel: Some(Through { suite: suite.into(), post_quantum }),
        ..now()
    };
    let hybrid = only("[condition.pq]\ntunnel = \"post-quantum\"\n");
    assert_eq!(hybrid.holds(&through(CHACHA, true)), Truth::Holds);
    assert!(matches!(hybrid.holds(&through(AES, false)), Truth::Fails(_)));
    assert!(matches!(hybrid.holds(&now()), Truth::Unknown(_)), "no tunnel is no post-quantum tunnel");
    let suite = only(&format!("[condition.aes]\ntunnel_suites = [\"{AES}\"]\n"));
    assert_eq!(suite.holds(&through(AES, true)), Truth::Holds);
    assert!(matches!(suite.holds(&through(CHACHA, true)), Truth::Fails(_)));
    // What TLS agreed with the visitor is no answer.
    let visitor = Circumstances {
        transport: Some(Transport { group: "X25519MLKEM768".into(), suite: AES.into() }),
        ..now()
    };
    assert!(matches!(suite.holds(&visitor), Truth::Unknown(_)));
    let (_, told) = read(
        "[condition.a]\ntunnel = \"hybrid\"\n\n[condition.b]\ntunnel_suites = [\"TLS13_AES_256_GCM_SHA384\"]\n",
    );
    for part in ["conditions.toml:1: tunnel:", "conditions.toml:4: tunnel_suites:"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn all_parts_must_hold_and_what_fails_outweighs_what_is_unknown() {
    let both = only("[condition.x]\nnetworks = [\"192.0.2.0/24\"]\ndevice = \"enrolled\"\n");
    assert!(matches!(both.holds(&now()), Truth::Fails(_)));
    let with_device = Circumstances { device: Some(DeviceId::from_bytes([1; 16])), ..now() };
    assert!(matches!(both.holds(&with_device), Truth::Unknown(_)));
}

#[test]
fn every_fault_is_told_with_the_line_of_its_condition() {
    let (_, told) = read(
        "# words\n[condition.empty]\n\n[condition.Bad]\ndevice = \"enrolled\"\n\n[condition.nets]\nnetworks = [\"10.0.0.0/33\", \"10.0.0.1/8\"]\n\n[condition.none]\nnetworks = []\n\n[condition.dev]\ndevice = \"any\"\n\n[condition.tls]\ntransport = \"good\"\nsuites = [\"a b\"]\n",
    );
    for part in [
        "conditions.toml:2: it asks for nothing",
        "conditions.toml:4: \"Bad\"",
        "conditions.toml:7: networks: \"10.0.0.0/33\"",
        "conditions.toml:7: networks: 10.0.0.1/8 has bits behind its prefix; write 10.0.0.0/8",
        "conditions.toml:10: networks: it holds 0 entries",
        "conditions.toml:13: device:",
        "conditions.toml:16: transport:",
        "conditions.toml:16: suites:",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
}

#[test]
fn a_key_that_is_misspelt_is_a_fault_with_its_line() {
    let (conditions, told) = read("[condition.x]\ndevice = \"enrolled\"\nnetwork = [\"10.0.0.0/8\"]\n");
    assert!(conditions.is_empty());
    assert!(told.contains("conditions.toml:3: unknown field `network`"), "{told}");
}
