"""A gateway of a script's own: state directory, SoftHSM token, settings, and the commands that belong to it."""
import json, os, pathlib

from lab.processes import run

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release"


class Gateway:
    """Set up by `sallyportd init`, and not started."""

    def __init__(self, home, port, *settings, domain="localhost", address="127.0.0.1"):
        self.home, self.settings = home, settings
        (home / "softhsm" / "tokens").mkdir(parents=True, mode=0o700)
        conf = home / "softhsm" / "softhsm2.conf"
        conf.write_text(f"directories.tokendir = {home}/softhsm/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
        self.env = {**os.environ, "SOFTHSM2_CONF": str(conf), "SALLYPORT_CA_FILE": str(self.root), "SALLYPORT_HOME": f"{home}/client",
                    "SALLYPORT_GATEWAY": f"https://{domain}:{port}", "SALLYPORT_TOKEN_FILE": f"{home}/tokens/publisher.token"}
        run(PROGRAMS / "sallyportd", "init", "--state", home, "--domain", domain, "--listen", f"{address}:{port}", env=self.env)

    @property
    def root(self):
        return self.home / "tls" / "root.pem"

    def serve(self):
        """The command that runs it."""
        return [PROGRAMS / "sallyportd", "run", "--config", self.home / "sallyport.toml",
                *[part for one in self.settings for part in ("--set", one)]]

    @staticmethod
    def publish(kind, target, name, *more):
        """The command that publishes an app; a script's publishers never give up."""
        return [PROGRAMS / "sallyport", "publish", kind, target, "--name", name, "--give-up-after", "0", *more]

    def verify(self):
        """What `auditctl verify` says of the ledger; raises unless all of it passes."""
        return run(PROGRAMS / "auditctl", "verify", self.home / "ledger", "--key-file", self.home / "ledger.vkey")

    def records(self, *kinds):
        """Records of these kinds."""
        wanted = [part for kind in kinds for part in ("--kind", kind)]
        text = run(PROGRAMS / "auditctl", "log", self.home / "ledger", "--json", *wanted)
        return [json.loads(line) for line in text.splitlines()]
