//! Disks that are full or read-only, for one process alone: in a mount namespace of its own.

use std::path::PathBuf;
use std::process::Command;

use super::process::Process;

/// Whether the system lets us have mount namespaces. Containers often do not; then there is no way to have a real full
/// disk without harm to others, and the test says that it shows nothing.
pub(crate) fn can_mount() -> bool {
    let tried = Command::new("unshare")
        .args(["--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"])
        .status();
    let can = tried.is_ok_and(|status| status.success());
    if !can {
        eprintln!(
            "SKIPPED: this system allows no mount namespace (unshare --map-root-user --mount), so this test shows nothing"
        );
    }
    can
}

/// `path` as `process` sees it, mounts of its own included.
pub(crate) fn inside(process: &Process, path: &std::path::Path) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{}", process.pid(), path.display()))
}
