//! X-Wing: one shared secret out of X25519 and ML-KEM-768.
//!
//! Whoever would learn the secret must break both. The combiner is that of draft-connolly-cfrg-xwing-kem; the parts
//! come from aws-lc-rs, whose ML-KEM and SHA-3 are also those of its FIPS module. The three official vectors are
//! tests here.
//!
//! Not trusted: the peer's key and ciphertext. An ML-KEM key out of range and an X25519 point of low order are
//! refused; a ciphertext that was altered gives an unrelated secret (implicit rejection), which the handshake notices
//! because the transcript's signature covers the ciphertext.

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::digest::{Context, SHA3_256};
use aws_lc_rs::kem::{
    Ciphertext as MlKemCiphertext, DecapsulationKey as MlKemKey, EncapsulationKey, ML_KEM_768,
};
use zeroize::{Zeroize, Zeroizing};

/// Bytes of an ML-KEM-768 encapsulation key (FIPS 203, table 3).
const ML_KEM_PUBLIC: usize = 1184;
/// Bytes of an ML-KEM-768 ciphertext.
const ML_KEM_CIPHERTEXT: usize = 1088;
/// Bytes of an X25519 key (RFC 7748).
const X25519_PUBLIC: usize = 32;
/// Bytes of an X-Wing encapsulation key.
pub const PUBLIC_KEY: usize = ML_KEM_PUBLIC + X25519_PUBLIC;
/// Bytes of an X-Wing ciphertext.
pub const CIPHERTEXT: usize = ML_KEM_CIPHERTEXT + X25519_PUBLIC;
/// The draft's label, `\.//^\`.
const LABEL: &[u8; 6] = br"\.//^\";

/// Why no secret came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KemError {
    /// The peer's ML-KEM key is not a key: a coefficient is out of range (FIPS 203 §7.2).
    #[error("the peer's ML-KEM-768 key is not valid")]
    BadMlKemKey,
    /// The peer's X25519 point has low order, so that the secret would be known to all (RFC 7748 §6.1).
    #[error("the peer's X25519 key is not valid")]
    BadX25519Key,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed while {0}")]
    Library(&'static str),
}

/// The 32 bytes that both ends share; zeroed when dropped.
pub struct SharedSecret(Zeroizing<[u8; 32]>);

impl SharedSecret {
    /// For the test vectors.
    #[cfg(test)]
    pub(crate) fn known(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The only way to the bytes; the key schedule calls it.
    pub(crate) fn expose_to_schedule(&self) -> &[u8; 32] {
        &self.0
    }
}

/// One side's key pair, made for one handshake.
pub struct DecapsulationKey {
    ml_kem: MlKemKey,
    x25519: PrivateKey,
    public: Box<[u8; PUBLIC_KEY]>,
}

impl DecapsulationKey {
    /// A fresh key pair.
    pub fn generate() -> Result<Self, KemError> {
        let ml_kem =
            MlKemKey::generate(&ML_KEM_768).map_err(|_| KemError::Library("making an ML-KEM key"))?;
        let x25519 = PrivateKey::generate(&X25519).map_err(|_| KemError::Library("making an X25519 key"))?;
        let ml_kem_public = ml_kem
            .encapsulation_key()
            .and_then(|key| key.key_bytes())
            .map_err(|_| KemError::Library("reading an ML-KEM key"))?;
        Self::assemble(ml_kem, ml_kem_public.as_ref(), x25519)
    }

    fn assemble(ml_kem: MlKemKey, ml_kem_public: &[u8], x25519: PrivateKey) -> Result<Self, KemError> {
        let x25519_public =
            x25519.compute_public_key().map_err(|_| KemError::Library("computing an X25519 key"))?;
        let public = join::<PUBLIC_KEY>(ml_kem_public, x25519_public.as_ref())?;
        Ok(Self { ml_kem, x25519, public: Box::new(public) })
    }

    /// The public half: ML-KEM-768 key, then X25519 key.
    pub fn public(&self) -> &[u8; PUBLIC_KEY] {
        &self.public
    }

    /// The secret inside `ciphertext`.
    pub fn decapsulate(&self, ciphertext: &[u8; CIPHERTEXT]) -> Result<SharedSecret, KemError> {
        let (ml_kem_part, x25519_part) = ciphertext.split_at(ML_KEM_CIPHERTEXT);
        let (_, own_x25519) = self.public.split_at(ML_KEM_PUBLIC);
        let ml_kem_secret = self
            .ml_kem
            .decapsulate(MlKemCiphertext::from(ml_kem_part))
            .map_err(|_| KemError::Library("decapsulating"))?;
        let x25519_secret = diffie_hellman(&self.x25519, x25519_part)?;
        Ok(combine(ml_kem_secret.as_ref(), &x25519_secret, x25519_part, own_x25519))
    }
}

/// A fresh secret for the holder of `public`, and the ciphertext that carries it.
pub fn encapsulate(public: &[u8; PUBLIC_KEY]) -> Result<(Box<[u8; CIPHERTEXT]>, SharedSecret), KemError> {
    let (ml_kem_public, x25519_public) = public.split_at(ML_KEM_PUBLIC);
    // aws-lc-rs checks the key's coefficients only when it encapsulates: either failure is the peer's fault.
    let (ml_kem_ciphertext, ml_kem_secret) = EncapsulationKey::new(&ML_KEM_768, ml_kem_public)
        .map_err(|_| KemError::BadMlKemKey)?
        .encapsulate()
        .map_err(|_| KemError::BadMlKemKey)?;
    let ephemeral = PrivateKey::generate(&X25519).map_err(|_| KemError::Library("making an X25519 key"))?;
    let ephemeral_public =
        ephemeral.compute_public_key().map_err(|_| KemError::Library("computing an X25519 key"))?;
    let x25519_secret = diffie_hellman(&ephemeral, x25519_public)?;
    let ciphertext = join::<CIPHERTEXT>(ml_kem_ciphertext.as_ref(), ephemeral_public.as_ref())?;
    let secret = combine(ml_kem_secret.as_ref(), &x25519_secret, ephemeral_public.as_ref(), x25519_public);
    Ok((Box::new(ciphertext), secret))
}

fn diffie_hellman(own: &PrivateKey, peer: &[u8]) -> Result<Zeroizing<[u8; 32]>, KemError> {
    // aws-lc refuses an all-zero result, which is what a low-order point gives.
    agree(own, UnparsedPublicKey::new(&X25519, peer), KemError::BadX25519Key, |secret| {
        let bytes: [u8; 32] = secret.try_into().map_err(|_| KemError::Library("agreeing on X25519"))?;
        Ok(Zeroizing::new(bytes))
    })
}

/// SHA3-256(`ss_M` ‖ `ss_X` ‖ `ct_X` ‖ `pk_X` ‖ label), the draft's combiner.
fn combine(ml_kem: &[u8], x25519: &[u8; 32], x25519_ciphertext: &[u8], x25519_public: &[u8]) -> SharedSecret {
    let mut hash = Context::new(&SHA3_256);
    for part in [ml_kem, x25519.as_slice(), x25519_ciphertext, x25519_public, LABEL.as_slice()] {
        hash.update(part);
    }
    let digest = hash.finish();
    let mut secret = Zeroizing::new([0; 32]);
    // A SHA3-256 digest has 32 bytes; `zip` cannot go out of bounds.
    secret.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    SharedSecret(secret)
}

fn join<const N: usize>(first: &[u8], second: &[u8]) -> Result<[u8; N], KemError> {
    let mut joined = first.to_vec();
    joined.extend_from_slice(second);
    let array = <[u8; N]>::try_from(joined.as_slice());
    joined.zeroize();
    array.map_err(|_| KemError::Library("measuring a key"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    #[expect(deprecated, reason = "aws-lc-rs takes the expanded form of FIPS 203 only")]
    use ml_kem::ExpandedKeyEncoding;
    use ml_kem::{KeyExport, MlKem768};
    use shake::{ExtendableOutput, Shake256, Update, XofReader};
    use x_wing::Decapsulate;

    /// One official vector: draft-connolly-cfrg-xwing-kem, `spec/test-vectors.json`.
    pub(crate) struct Vector {
        pub(crate) sk: [u8; 32],
        pub(crate) pk: [u8; PUBLIC_KEY],
        pub(crate) ct: [u8; CIPHERTEXT],
        pub(crate) ss: [u8; 32],
    }

    pub(crate) fn vectors() -> Vec<Vector> {
        let all: Vec<std::collections::BTreeMap<String, String>> =
            serde_json::from_str(include_str!("xwing-vectors.json")).unwrap();
        let field =
            |map: &std::collections::BTreeMap<String, String>, name: &str| hex::decode(&map[name]).unwrap();
        all.iter()
            .map(|map| Vector {
                sk: field(map, "sk").try_into().unwrap(),
                pk: field(map, "pk").try_into().unwrap(),
                ct: field(map, "ct").try_into().unwrap(),
                ss: field(map, "ss").try_into().unwrap(),
            })
            .collect()
    }

    /// The draft's key expansion: aws-lc-rs cannot start from the seed, so an independent implementation expands it.
    pub(crate) fn expand(seed: &[u8; 32]) -> DecapsulationKey {
        let mut expanded = [0; 96];
        let mut shake = Shake256::default();
        shake.update(seed);
        shake.finalize_xof().read(&mut expanded);
        let ml_kem_seed: [u8; 64] = expanded[..64].try_into().unwrap();
        let decapsulation = ml_kem::DecapsulationKey::<MlKem768>::from_seed(ml_kem_seed.into());
        let public = decapsulation.encapsulation_key().to_bytes();
        #[expect(deprecated, reason = "aws-lc-rs takes the expanded form of FIPS 203 only")]
        let expanded_key = decapsulation.to_expanded_bytes();
        let ml_kem = MlKemKey::new(&ML_KEM_768, &expanded_key).unwrap();
        let x25519 = PrivateKey::from_private_key(&X25519, &expanded[64..]).unwrap();
        DecapsulationKey::assemble(ml_kem, &public, x25519).unwrap()
    }

    #[test]
    fn the_three_official_vectors_give_their_shared_secrets() {
        let vectors = vectors();
        assert_eq!(vectors.len(), 3);
        for vector in vectors {
            let key = expand(&vector.sk);
            assert_eq!(key.public(), &vector.pk);
            let secret = key.decapsulate(&vector.ct).unwrap();
            assert_eq!(secret.expose_to_schedule(), &vector.ss);
        }
    }

    #[test]
    fn an_independent_implementation_opens_what_we_encapsulate() {
        for vector in vectors() {
            let (ciphertext, ours) = encapsulate(&vector.pk).unwrap();
            let theirs = x_wing::DecapsulationKey::from(vector.sk);
            let opened = theirs.decapsulate(ciphertext.as_slice().try_into().unwrap());
            assert_eq!(opened.as_slice(), ours.expose_to_schedule());
        }
    }

    #[test]
    fn two_fresh_ends_share_one_secret() {
        let key = DecapsulationKey::generate().unwrap();
        let (ciphertext, ours) = encapsulate(key.public()).unwrap();
        let theirs = key.decapsulate(&ciphertext).unwrap();
        assert_eq!(ours.expose_to_schedule(), theirs.expose_to_schedule());
    }

    #[test]
    fn an_encapsulation_key_of_all_ones_is_refused() {
        assert_eq!(encapsulate(&[0xff; PUBLIC_KEY]).err(), Some(KemError::BadMlKemKey));
    }

    /// The points of small order on Curve25519 and its twist, as in RFC 7748's security considerations.
    fn low_order_points() -> Vec<[u8; 32]> {
        let mut one = [0; 32];
        one[0] = 1;
        let order_eight_a = hex::decode("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");
        let order_eight_b = hex::decode("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157");
        vec![
            [0; 32],
            one,
            order_eight_a.unwrap().try_into().unwrap(),
            order_eight_b.unwrap().try_into().unwrap(),
        ]
    }

    #[test]
    fn an_x25519_point_of_low_order_is_refused_by_both_sides() {
        for point in low_order_points() {
            let key = DecapsulationKey::generate().unwrap();
            let mut public = *key.public();
            public[ML_KEM_PUBLIC..].copy_from_slice(&point);
            assert_eq!(encapsulate(&public).err(), Some(KemError::BadX25519Key));

            let (mut ciphertext, _) = encapsulate(key.public()).unwrap();
            ciphertext[ML_KEM_CIPHERTEXT..].copy_from_slice(&point);
            assert_eq!(key.decapsulate(&ciphertext).err(), Some(KemError::BadX25519Key));
        }
    }
}
