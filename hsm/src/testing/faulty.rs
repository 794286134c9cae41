//! A module with faults that SoftHSM cannot be made to have: SoftHSM itself behind a thin shim, which a file tells to
//! be slow, to hang or to crash. A stand-in only for these.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::pkcs11::find_softhsm;

/// The shim, compiled.
pub struct FaultyModule {
    module: PathBuf,
    control: PathBuf,
}

impl FaultyModule {
    /// Compiles it into `directory`.
    ///
    /// # Panics
    ///
    /// If there is no C compiler, or SoftHSM is not installed.
    pub fn build(directory: &Path) -> Self {
        let (source, module) = (directory.join("faulty_module.c"), directory.join("faulty_module.so"));
        std::fs::write(&source, include_str!("faulty_module.c")).expect("the source is written");
        let control = directory.join("faulty_module.control");
        let softhsm = find_softhsm().expect("SoftHSM is installed (Debian: apt install softhsm2)");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([&module, &source])
            .args([define("MODULE", &softhsm), define("CONTROL", &control)])
            .output()
            .expect("a C compiler runs (Debian: apt install gcc)");
        assert!(compiled.status.success(), "cc: {}", String::from_utf8_lossy(&compiled.stderr));
        Self { module, control }
    }

    /// Its path, for the configuration.
    pub fn path(&self) -> &Path {
        &self.module
    }

    /// From now on: `slow 20`, `hang`, `crash`, `init hang`, or nothing.
    ///
    /// # Panics
    ///
    /// If the file cannot be written.
    pub fn be(&self, fault: &str) {
        // Replaced, so that no call reads half of it.
        let new = self.control.with_extension("new");
        std::fs::write(&new, fault)
            .and_then(|()| std::fs::rename(&new, &self.control))
            .expect("the fault is set");
    }
}

fn define(name: &str, path: &Path) -> String {
    format!("-D{name}=\"{}\"", path.display())
}
