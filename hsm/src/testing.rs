//! A real token of one's own, for each test: SoftHSM, for which the package `softhsm2` must be there (without it tests
//! fail and say so, rather than pass), or kryoptic, if `SALLYPORT_TEST_KRYOPTIC` names its module (`make test-kryoptic`).
//! With `SALLYPORT_TEST_WORKER=1` the token is used through a worker process.
//!
//! SoftHSM reads `SOFTHSM2_CONF` when it is initialised (kryoptic `KRYOPTIC_CONF`), and a process has one environment. So a test that
//! opens its token in its own process runs again as a child of itself, with the variable set:
//!
//! ```
//! # use sallyport_hsm::testing::TestToken;
//! # /*
//! #[test]
//! # */
//! fn a_new_token_has_no_keys() {
//!     let Some(token) = TestToken::for_this_test() else { return };
//!     assert!(token.open().inventory().unwrap().is_empty());
//! }
//! ```
//!
//! This works under `cargo test` and under runners with a process per test. A test that starts a program
//! instead makes a token with [`TestToken::create`] and sets the variable for that program.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "test support: a broken fixture must fail the test loudly"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use tempfile::TempDir;

use crate::config::{ProviderConfig, Tuning};
use crate::durable;
use crate::keys::Keys;
use crate::pkcs11::find_softhsm;
use crate::wrapped;

mod faulty;

pub use faulty::FaultyModule;

/// Tells the child which token is its own.
const INHERITED: &str = "SALLYPORT_TEST_TOKEN";

/// The label of each test token.
const LABEL: &str = "sallyport test";

/// Names kryoptic's module, and makes it the token of the tests.
const KRYOPTIC: &str = "SALLYPORT_TEST_KRYOPTIC";

/// Has the tests use their tokens through a worker process.
const WORKER: &str = "SALLYPORT_TEST_WORKER";

/// Whose token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// SoftHSM: no post-quantum mechanism, no lockout, files that can be taken away.
    SoftHsm,
    /// kryoptic: PKCS#11 3.2 with ML-DSA, a lockout, exact error codes.
    Kryoptic,
}

impl Make {
    fn of_the_tests() -> (Self, PathBuf) {
        match env::var_os(KRYOPTIC) {
            Some(module) => (Self::Kryoptic, module.into()),
            None => {
                (Self::SoftHsm, find_softhsm().expect("SoftHSM is installed (Debian: apt install softhsm2)"))
            }
        }
    }
}

/// A configuration, a token in it, and files with its PINs.
pub struct TestToken {
    make: Make,
    module: PathBuf,
    directory: PathBuf,
    /// Only its maker removes it.
    _owned: Option<TempDir>,
}

impl TestToken {
    /// Makes a token. It is removed with this value.
    ///
    /// # Panics
    ///
    /// If SoftHSM is not installed, or does not make the token.
    pub fn create() -> Self {
        let token = Self::without_token();
        let (so_pin, pin) = (random_pin(), random_pin());
        durable::replace(&token.so_pin_file(), so_pin.as_bytes()).expect("the SO PIN file is written");
        durable::replace(&token.pin_file(), pin.as_bytes()).expect("the PIN file is written");
        token.initialise(&so_pin, &pin);
        token
    }

    fn initialise(&self, so_pin: &str, pin: &str) {
        if self.make == Make::Kryoptic {
            self.pkcs11_tool(&["--init-token", "--slot-index", "0", "--label", LABEL, "--so-pin", so_pin]);
            let so = ["--token-label", LABEL, "--login", "--login-type", "so", "--so-pin", so_pin];
            return self.pkcs11_tool(&[&so[..], &["--init-pin", "--pin", pin]].concat());
        }
        let made = Command::new("softhsm2-util")
            .env("SOFTHSM2_CONF", self.conf())
            .args(["--init-token", "--free", "--label", LABEL, "--so-pin", so_pin, "--pin", pin])
            .output()
            .expect("softhsm2-util runs (Debian: apt install softhsm2)");
        assert!(made.status.success(), "softhsm2-util: {}", String::from_utf8_lossy(&made.stderr));
    }

    /// Makes a configuration whose one slot is free.
    ///
    /// # Panics
    ///
    /// If SoftHSM is not installed.
    pub fn without_token() -> Self {
        let (make, module) = Make::of_the_tests();
        let owned = tempfile::tempdir().expect("there is a temporary directory");
        let token = Self { make, module, directory: owned.path().to_owned(), _owned: Some(owned) };
        fs::create_dir(token.token_directory()).expect("the token directory is made");
        let directory = token.token_directory();
        let conf = match make {
            Make::SoftHsm => format!(
                "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
                directory.display()
            ),
            Make::Kryoptic => format!(
                "[[slots]]\nslot = 1\ndbtype = \"sqlite\"\ndbargs = \"{}\"\n",
                directory.join("token.sql").display()
            ),
        };
        fs::write(token.conf(), conf).expect("the configuration is written");
        token
    }

    /// The token of the running test; `None` in the parent, where the child has run and passed.
    ///
    /// # Panics
    ///
    /// In the parent, with the child's output, if the child failed.
    pub fn for_this_test() -> Option<Self> {
        Self::in_child(Self::create)
    }

    /// As [`TestToken::for_this_test`], for what only SoftHSM has: a token in files that can be taken away, and seeds
    /// that it seals because it has no post-quantum mechanism. With another token the test is passed over.
    pub fn for_this_test_with_softhsm() -> Option<Self> {
        match Make::of_the_tests() {
            (Make::SoftHsm, _) => Self::for_this_test(),
            (other, _) => {
                eprintln!("passed over with {other:?}");
                None
            }
        }
    }

    /// As [`TestToken::for_this_test`], for what only kryoptic has: post-quantum mechanisms and a lockout.
    pub fn for_this_test_with_kryoptic() -> Option<Self> {
        match Make::of_the_tests() {
            (Make::Kryoptic, _) => Self::for_this_test(),
            (other, _) => {
                eprintln!("passed over with {other:?}");
                None
            }
        }
    }

    /// As [`TestToken::for_this_test`], with a configuration whose one slot is free.
    pub fn for_this_test_without_token() -> Option<Self> {
        Self::in_child(Self::without_token)
    }

    fn in_child(make: fn() -> Self) -> Option<Self> {
        if let Some(directory) = env::var_os(INHERITED) {
            let (make, module) = Make::of_the_tests();
            return Some(Self { make, module, directory: directory.into(), _owned: None });
        }
        let token = make();
        let thread = std::thread::current();
        let name = thread.name().expect("the test harness names a test's thread after the test");
        let child = Command::new(env::current_exe().expect("the test binary has a path"))
            .args([name, "--exact", "--nocapture", "--include-ignored"])
            .env(INHERITED, &token.directory)
            .env(token.conf_variable(), token.conf())
            .stdin(Stdio::null())
            .output()
            .expect("the test binary runs");
        let (out, err) = (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
        assert!(child.status.success(), "{name} in its own process: {}\n{out}\n{err}", child.status);
        // A name that matches nothing also ends well; that must not count as a test.
        assert!(out.contains("1 passed"), "{name} did not run in its own process:\n{out}");
        None
    }

    /// Runs `pkcs11-tool` with the token's module.
    ///
    /// # Panics
    ///
    /// If it is not installed, or does not do as it is told.
    pub fn pkcs11_tool(&self, arguments: &[&str]) {
        let done = Command::new("pkcs11-tool")
            .env(self.conf_variable(), self.conf())
            .arg("--module")
            .arg(&self.module)
            .args(arguments)
            .output()
            .expect("pkcs11-tool runs (Debian: apt install opensc)");
        assert!(done.status.success(), "pkcs11-tool: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Whose token it is.
    pub fn make(&self) -> Make {
        self.make
    }

    /// The variable that must name [`TestToken::conf`].
    pub fn conf_variable(&self) -> &'static str {
        match self.make {
            Make::SoftHsm => "SOFTHSM2_CONF",
            Make::Kryoptic => "KRYOPTIC_CONF",
        }
    }

    /// The token's module.
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// The token's label.
    pub fn label(&self) -> &'static str {
        LABEL
    }

    /// The configuration of the module.
    pub fn conf(&self) -> PathBuf {
        self.directory.join("token.conf")
    }

    /// The file with the user PIN.
    pub fn pin_file(&self) -> PathBuf {
        self.directory.join("pin")
    }

    /// The file with the security officer's PIN.
    pub fn so_pin_file(&self) -> PathBuf {
        self.directory.join("so-pin")
    }

    /// Where SoftHSM keeps the token.
    pub fn token_directory(&self) -> PathBuf {
        self.directory.join("tokens")
    }

    /// Where wrapped seeds are kept.
    pub fn key_directory(&self) -> PathBuf {
        self.directory.join("keys")
    }

    /// The configuration that opens this token.
    pub fn config(&self) -> ProviderConfig {
        let provider = ProviderConfig::Pkcs11 {
            module: self.module.clone(),
            token: LABEL.to_owned(),
            pin_file: self.pin_file(),
            directory: self.key_directory(),
        };
        if env::var_os(WORKER).is_some() { Self::in_worker(provider) } else { provider }
    }

    /// The same provider in a worker process.
    ///
    /// # Panics
    ///
    /// If the worker's program is not built (`cargo build --all-features --bins`).
    pub fn in_worker(provider: ProviderConfig) -> ProviderConfig {
        let test = env::current_exe().expect("the test binary has a path");
        let program = test.ancestors().skip(1).map(|folder| folder.join("hsm-test-worker"));
        let program = program.take(3).find(|path| path.exists());
        ProviderConfig::InWorker {
            program: program.expect("the worker of the tests is built: cargo build --all-features --bins"),
            provider: Box::new(provider),
        }
    }

    /// Bounds that let a test see an outage and its end soon.
    pub fn tuning() -> Tuning {
        Tuning {
            probe_every: Duration::from_millis(100),
            recover_every: Duration::from_millis(100),
            ..Tuning::default()
        }
    }

    /// The keys of this token.
    ///
    /// # Panics
    ///
    /// If they do not open.
    pub fn open(&self) -> Keys {
        match Keys::open_with(&self.config(), Self::tuning()) {
            Ok(keys) => keys,
            Err(error) => panic!("the test token does not open: {error:?}"),
        }
    }

    /// The keys of this token, all of them made.
    ///
    /// # Panics
    ///
    /// If they do not open, or cannot be made.
    pub fn open_with_keys(&self) -> Keys {
        let keys = self.open();
        keys.generate_missing().expect("the keys are made");
        keys
    }

    /// Writes kryoptic's configuration anew, without these mechanisms: a token that lost them, for who initialises the
    /// module after this.
    ///
    /// # Panics
    ///
    /// If it cannot be written, or the token is another's.
    pub fn without_mechanisms(&self, denied: &[&str]) {
        assert_eq!(self.make, Make::Kryoptic, "only kryoptic can be told so");
        let conf = fs::read_to_string(self.conf()).expect("the configuration is read");
        let kept = conf.lines().filter(|line| !line.starts_with("mechanisms")).collect::<Vec<_>>().join("\n");
        let names: Vec<String> = ["DENY"].iter().chain(denied).map(|name| format!("\"{name}\"")).collect();
        let list =
            if denied.is_empty() { String::new() } else { format!("mechanisms = [{}]\n", names.join(", ")) };
        fs::write(self.conf(), format!("{kept}\n{list}")).expect("the configuration is written");
    }

    /// Takes the token away, as if it were pulled out.
    ///
    /// # Panics
    ///
    /// If it is away already.
    pub fn take_away(&self) {
        fs::rename(self.token_directory(), self.directory.join("away")).expect("the token is taken away");
    }

    /// Puts another token, with the same label and other PINs, where this one was taken away.
    ///
    /// # Panics
    ///
    /// If it was not taken away.
    pub fn put_another(&self) {
        let other = Self::create();
        fs::rename(other.token_directory(), self.token_directory()).expect("another token is put in place");
    }

    /// Puts the token back, in the place of any other.
    ///
    /// # Panics
    ///
    /// If it was not taken away.
    pub fn put_back(&self) {
        if self.token_directory().exists() {
            fs::remove_dir_all(self.token_directory()).expect("the other token is removed");
        }
        fs::rename(self.directory.join("away"), self.token_directory()).expect("the token is put back");
    }
}

fn random_pin() -> String {
    let mut bytes = [0; 6];
    wrapped::random(&mut bytes).expect("the system has random bytes");
    hex::encode(bytes)
}
