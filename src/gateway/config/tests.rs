use std::time::Duration;

use super::*;

fn load(text: &str, environment: &[(&str, &str)], flags: &[&str]) -> Result<Config, ConfigError> {
    let table = toml::from_str(text).expect("test text is TOML");
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    Config::from_layers(table, environment, &flags, Path::new("state"))
}

fn faults(result: Result<Config, ConfigError>) -> Vec<String> {
    match result {
        Err(ConfigError::Faults(problems)) => problems.into_iter().map(|problem| problem.path).collect(),
        other => panic!("expected faults, got {other:?}"),
    }
}

#[test]
fn an_empty_file_is_the_documented_default() {
    let config = load("", &[], &[]).expect("defaults are valid");
    assert_eq!(config.gateway.domain, "localhost");
    assert_eq!(config.gateway.listen, "127.0.0.1:8443".parse().unwrap());
    assert_eq!(config.ledger.directory, Path::new("state/ledger"));
    assert_eq!(config.tunnels.tcp_ports, 20000..=20099);
}

#[test]
fn three_faults_are_reported_in_one_go_each_with_its_key() {
    let text = "[gateway]\nlisten = \"everywhere\"\n[tunnels]\nmax_per_user = 0\n[limits]\nheadr_secs = 3\n";
    let mut paths = faults(load(text, &[], &[]));
    paths.sort();
    assert_eq!(paths, ["gateway.listen", "limits.headr_secs", "tunnels.max_per_user"]);
}

#[test]
fn an_unknown_setting_is_refused_and_the_likely_one_is_named() {
    let error = load("[limits]\nheadr_secs = 3\n", &[], &[]).unwrap_err();
    assert!(error.to_string().contains("did you mean `limits.header_secs`"), "{error}");
}

#[test]
fn flags_win_over_environment_and_environment_over_file() {
    let text = "[gateway]\nlisten = \"127.0.0.1:1\"\ndomain = \"one.example\"\ndrain_secs = 1\n";
    let environment = [("SALLYPORT_GATEWAY__LISTEN", "127.0.0.1:2"), ("SALLYPORT_GATEWAY__DRAIN_SECS", "2")];
    let config = load(text, &environment, &["gateway.listen=127.0.0.1:3"]).unwrap();
    assert_eq!(config.gateway.listen.port(), 3);
    assert_eq!(config.gateway.drain, Duration::from_secs(2));
    assert_eq!(config.gateway.domain, "one.example");
}

#[test]
fn the_client_programs_own_variables_are_left_alone() {
    assert!(load("", &[("SALLYPORT_TOKEN_FILE", "x")], &[]).is_ok());
    assert_eq!(faults(load("", &[("SALLYPORT_GATEWAY__LISTENN", "x")], &[])), ["gateway.listenn"]);
}

#[test]
fn a_sink_to_a_host_that_the_operator_does_not_name_is_refused_whichever_way_it_goes() {
    let sinks = "[[sinks]]\nname = \"a\"\naddress = \"siem.example.com:6514\"\nroot_file = \"r\"\n\
         [[sinks]]\nname = \"b\"\ntransport = \"webhook\"\nurl = \"https://hooks.example.net/in\"\nroot_file = \"r\"\n\
         [[sinks]]\nname = \"c\"\ntransport = \"file\"\npath = \"out\"\n";
    assert!(load(sinks, &[], &[]).is_ok(), "nobody is named: any host");
    let hosts = |hosts: &str| load(sinks, &[], &[&format!("gateway.sink_hosts={hosts}")]);
    assert!(hosts("*.example.com, hooks.example.net").is_ok());
    assert_eq!(faults(hosts("*.example.com")), ["sinks[1].url"]);
    assert_eq!(faults(hosts("hooks.example.net")), ["sinks[0].address"]);
    assert_eq!(faults(hosts("example.com,example.net")), ["sinks[0].address", "sinks[1].url"]);
}

#[test]
fn a_syslog_sink_that_would_always_be_late_is_refused() {
    let sink = |transport: &str, settle: u32, late: u32| {
        format!(
            "[[sinks]]\nname = \"a\"\ntransport = \"{transport}\"\naddress = \"127.0.0.1:514\"\nroot_file = \"r\"\n\
             settle_secs = {settle}\nlate_secs = {late}\n"
        )
    };
    for transport in ["tcp", "tls"] {
        assert_eq!(faults(load(&sink(transport, 60, 60), &[], &[])), ["sinks[0].late_secs"], "{transport}");
    }
    assert!(load(&sink("tls", 60, 61), &[], &[]).is_ok());
}

#[test]
fn a_sink_without_roots_or_address_is_refused() {
    let paths = faults(load("[[sinks]]\nname = \"soc\"\n", &[], &[]));
    assert_eq!(paths, ["sinks[0].address", "sinks[0].root_file"]);
}

#[test]
fn two_sinks_of_one_name_are_refused() {
    let sink = "[[sinks]]\nname = \"soc\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:514\"\n";
    assert_eq!(faults(load(&format!("{sink}{sink}"), &[], &[])), ["sinks[1].name"]);
}

#[test]
fn the_digest_follows_the_settings_and_not_the_layer_they_came_from() {
    let from_file = load("[gateway]\ndrain_secs = 7\n", &[], &[]).unwrap();
    let from_flag = load("", &[], &["gateway.drain_secs=7"]).unwrap();
    let other = load("", &[], &[]).unwrap();
    assert_eq!(from_file.digest, from_flag.digest);
    assert_ne!(from_file.digest, other.digest);
}

#[test]
fn every_documented_default_and_example_is_accepted() {
    for key in KEYS.iter() {
        for text in [key.default, Some(key.example)].into_iter().flatten() {
            let (section, name) = key.path.split_once('.').unwrap();
            // What is said of client certificates counts where they are asked for; a quorum is one of witnesses that there are.
            let asked = if name.starts_with("clients_") { "clients = \"accept\"\n" } else { "" };
            let text = format!("[{section}]\n{asked}{name} = {text}\n{WITNESSES}");
            let loaded = load(&text, &[], &[]);
            assert!(loaded.is_ok(), "{} = {text}: {loaded:?}", key.path);
        }
    }
}

#[test]
fn the_commented_file_reads_back_as_the_values_it_was_given() {
    let text = commented_file(&[("gateway.listen", "\"127.0.0.1:9443\"".to_owned())]);
    let config = load(&text, &[], &[]).unwrap();
    assert_eq!(config.gateway.listen.port(), 9443);
    assert_eq!(config.gateway.domain, "localhost");
}

#[test]
fn the_documentation_lists_every_setting_with_its_default() {
    let page = include_str!("../../../docs/configuration.md");
    for key in KEYS.iter() {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", key.path)));
        let row = row.unwrap_or_else(|| panic!("docs/configuration.md does not list {}", key.path));
        assert!(row.contains(&format!("`{}`", key.default.unwrap_or("–"))), "{row}");
        assert!(row.contains(key.about), "{row}");
    }
}

#[test]
fn the_sink_of_the_siem_guide_is_accepted() {
    let guide = include_str!("../../../docs/siem.md");
    let block = guide.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let config = load(block, &[], &[]).unwrap();
    assert_eq!(config.sinks[0].options.target.kind(), "tls");
}

const WITNESSES: &str = r#"
[[witnesses]]
name = "w1"
url = "https://witness.example.net"
key = "witness.example.net/w1+bb9da8f4+BDasG/akCtMGGksZBnymBJciZ3tYOFVP2YhgjzwguhSj"
[[witnesses]]
name = "w2"
url = "http://127.0.0.1:8080"
key = "witness.example.net/w2+f34fa4d1+BK+7jgK94bSetxqsmNTOOIxdanhJb1E/lWNBF8v3h0Rj"
"#;

#[test]
fn all_witnesses_are_needed_unless_a_quorum_is_named() {
    let config = load(WITNESSES, &[], &[]).unwrap();
    assert_eq!((config.ledger.witnesses.all.len(), config.ledger.witnesses.quorum), (2, 2));
    assert_eq!(config.ledger.witnesses.policy, WitnessPolicy::FailOpen);
    let config = load(WITNESSES, &[], &["ledger.witness_quorum=1"]).unwrap();
    assert_eq!(config.ledger.witnesses.quorum, 1);
}

#[test]
fn witnesses_that_can_never_be_enough_are_refused() {
    let flags = |flag: &str| faults(load(WITNESSES, &[], &[flag]));
    assert_eq!(flags("ledger.witness_quorum=0"), ["ledger.witness_quorum"]);
    assert_eq!(flags("ledger.witness_quorum=3"), ["ledger.witness_quorum"]);
    assert_eq!(flags("ledger.witness_max_age_secs=299"), ["ledger.witness_max_age_secs"]);
    let none = faults(load("", &[], &["ledger.witness_policy=fail-closed"]));
    assert_eq!(none, ["ledger.witness_policy"]);
    let twice = WITNESSES.replace(
        "/w2+f34fa4d1+BK+7jgK94bSetxqsmNTOOIxdanhJb1E/lWNBF8v3h0Rj",
        "/w1+bb9da8f4+BDasG/akCtMGGksZBnymBJciZ3tYOFVP2YhgjzwguhSj",
    );
    assert_eq!(faults(load(&twice, &[], &[])), ["witnesses[1].key"], "one person counts once");
    let renamed = WITNESSES.replace(
        "/w2+f34fa4d1+BK+7jgK94bSetxqsmNTOOIxdanhJb1E/lWNBF8v3h0Rj",
        "/w2+33af21f1+BDasG/akCtMGGksZBnymBJciZ3tYOFVP2YhgjzwguhSj",
    );
    assert_eq!(faults(load(&renamed, &[], &[])), ["witnesses[1].key"], "under another name, too");
    let remote = WITNESSES.replace("127.0.0.1", "192.0.2.1");
    assert_eq!(faults(load(&remote, &[], &[])), ["witnesses[1].url"]);
}
