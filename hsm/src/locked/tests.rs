use proptest::prelude::*;

use super::*;

#[test]
fn a_secret_is_read_back_and_two_never_share_a_byte() {
    let one = Secret::copy_of(&[1; 32]).unwrap();
    let other = Secret::copy_of(&[2; 200]).unwrap();
    assert_eq!((one.expose(), other.expose()), (&[1; 32][..], &[2; 200][..]));
}

#[test]
fn what_a_secret_leaves_behind_is_zeros() {
    let pages = Pages::map().unwrap();
    let mut run = pages.take(100).unwrap();
    run.bytes_mut().fill(0xa5);
    let other = pages.take(10).unwrap();
    drop(run);
    // The same room is given out again.
    let again = pages.take(100).unwrap();
    assert!(again.bytes().iter().all(|byte| *byte == 0));
    assert!(other.bytes().iter().all(|byte| *byte == 0));
}

#[test]
fn more_than_there_is_room_for_is_an_error_and_not_a_secret_elsewhere() {
    assert!(matches!(Secret::copy_of(&vec![0; PAGES_LEN + 1]), Err(KeyError::Operation { .. })));
    let all = Secret::copy_of(&vec![3; PAGES_LEN]).unwrap();
    assert_eq!(all.expose().len(), PAGES_LEN);
}

#[test]
fn a_system_that_does_not_lock_is_named() {
    let told = LockedMemory { locked_bytes: 0, unlocked_bytes: 65_536, refused: Some("no leave".to_owned()) };
    assert_eq!(told.to_string(), "NOT LOCKED: 64 KiB can be swapped out (no leave); raise RLIMIT_MEMLOCK");
}

/// The lines of `/proc/self/smaps` about the mapping in which a secret lies.
fn mapping(secret: &Secret) -> String {
    let address = secret.expose().as_ptr() as usize;
    let all = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut lines = all.lines().skip_while(|line| {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let bounds =
            range.map(|(start, end)| (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16)));
        !matches!(bounds, Some((Ok(start), Ok(end))) if (start..end).contains(&address))
    });
    let head = lines.next().unwrap();
    let rest: Vec<&str> = lines.take_while(|line| line.split(' ').next().unwrap().ends_with(':')).collect();
    format!("{head}\n{}", rest.join("\n"))
}

#[test]
fn the_system_keeps_a_secret_in_memory_and_out_of_dumps_and_children() {
    let secret = Secret::copy_of(&[9; 32]).unwrap();
    assert_eq!(locked_memory().refused, None, "raise RLIMIT_MEMLOCK for the tests");
    let said = mapping(&secret);
    let flags = said.lines().find(|line| line.starts_with("VmFlags:")).unwrap();
    for flag in ["lo", "dd", "dc"] {
        assert!(flags.split(' ').any(|said| said == flag), "{flag} is missing: {said}");
    }
    let locked = said.lines().find_map(|line| line.strip_prefix("Locked:")).unwrap();
    assert_ne!(locked.trim(), "0 kB", "{said}");
}

const LIMITED: &str = "SALLYPORT_TEST_WITHOUT_LOCKS";

#[test]
fn a_system_that_refuses_to_lock_is_told_and_the_secret_is_kept_all_the_same() {
    if std::env::var_os(LIMITED).is_some() {
        let secret = Secret::copy_of(&[9; 32]).unwrap();
        assert_eq!(secret.expose(), [9; 32]);
        let told = locked_memory();
        assert_eq!((told.locked_bytes, told.unlocked_bytes), (0, PAGES_LEN), "{told:?}");
        assert!(told.refused.is_some() && told.to_string().starts_with("NOT LOCKED"), "{told}");
        return;
    }
    // Root may lock whatever the limit says, unless it has lost that right.
    let exec = if rustix::process::geteuid().is_root() {
        "ulimit -l 0; exec setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock \"$@\""
    } else {
        "ulimit -l 0; exec \"$@\""
    };
    let name = "locked::tests::a_system_that_refuses_to_lock_is_told_and_the_secret_is_kept_all_the_same";
    let child = std::process::Command::new("sh")
        .args(["-c", exec, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(LIMITED, "1")
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && out.contains("1 passed"),
        "{out}{}",
        String::from_utf8_lossy(&child.stderr)
    );
}

#[test]
fn a_process_that_forbids_dumps_has_none() {
    forbid_dumps().unwrap();
    assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
}

proptest! {
    /// Whatever is taken and given back, in whatever order: each secret keeps its own bytes.
    #[test]
    fn secrets_keep_their_bytes_whatever_comes_and_goes(
        steps in proptest::collection::vec((1_usize..400, any::<u8>(), any::<bool>()), 1..200)
    ) {
        let pages = Pages::map().unwrap();
        let mut held: Vec<(Run, u8)> = Vec::new();
        for (length, byte, give_back) in steps {
            if give_back && !held.is_empty() {
                held.swap_remove(length % held.len());
            } else if let Some(mut run) = pages.take(length) {
                prop_assert!(run.bytes().iter().all(|old| *old == 0));
                run.bytes_mut().fill(byte);
                held.push((run, byte));
            }
            for (run, byte) in &held {
                prop_assert!(run.bytes().iter().all(|own| own == byte));
            }
        }
    }
}
