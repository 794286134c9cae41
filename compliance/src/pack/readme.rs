//! What a stranger needs to know first, in plain words.

use super::Info;

/// `README.txt`.
pub(super) fn readme(info: &Info) -> String {
    let signature = match &info.signer {
        Some(key) => format!(
            "SHA256SUMS.note is a signature over SHA256SUMS by the key\n  {key}\nGet that key another way than this pack, and give it with --signer."
        ),
        None => "This pack is not signed: it was made without a key. Its records are under the ledger's own signature all the same."
            .to_owned(),
    };
    format!(
        "Evidence for {framework}, {from} to {to}, from the ledger {origin}.

Begin with report.html: one page that needs nothing else; print it, or load it into a browser.

Check it, offline, with nothing but auditctl and the ledger's public key:
  auditctl verify-pack PACK --key-file KEYS
Get the key from somebody who answers for it, another way than this pack. {keys} holds the
keys that the maker used, for comparison only.

Draw a sample:       auditctl sample PACK --key-file KEYS --population grant.issued
Follow one grant:    auditctl dossier GRANT PACK --key-file KEYS --out FILE
Make it again:       {again}
On paper:            chromium --headless --print-to-pdf=report.pdf report.html

report.html         for people               report.json        the same for programs
tables/*.csv        each table               oscal/*.json       NIST OSCAL 1.2.1
records.jsonl       the records of the period, with what shows that they are the ledger's
history.jsonl       what the time before left behind, likewise; by kind, so that its proofs cannot
                    show that none was left out: that is the maker's word
proofs/*            one file for each exception listed (up to {proofs}), for `auditctl check-proof`
checkpoint          the signed head that all of them lead to
framework.toml      which records are taken for which control
pack.json           what was asked for
SHA256SUMS          for `sha256sum --check`

{signature}
",
        framework = info.framework,
        from = info.period.from,
        to = info.period.to,
        origin = info.head.origin,
        keys = super::KEYS,
        again = info.again,
        proofs = super::MOST_PROOFS,
    )
}
