//! Tokens: what passes, what doesn't, and that each reason is told apart.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn header_and_claims(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let (header, claims) = (parts.next().unwrap(), parts.next().unwrap());
    (serde_json::from_slice(&header).unwrap(), serde_json::from_slice(&claims).unwrap())
}

/// Signed by the gateway's own key, whatever it says.
async fn sign(keys: &MemoryKeys, header: &Value, claims: &Value) -> String {
    let input = format!("{}.{}", encode(header), encode(claims));
    let signature = keys.sign_es256(input.clone().into_bytes()).await.unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn a_token_proves_its_person_tenant_and_end() {
    let world = World::new().await;
    let (id, text) = world.token("vic", "main", DAY).await;
    let identity = world.access.authenticate(&text, world.clock.now()).unwrap();
    assert_eq!(identity.subject(), &user("vic"));
    assert_eq!(identity.tenant(), &main_tenant());
    assert_eq!(identity.proof(), Proof::Token(id));
    assert_eq!(identity.expires(), Some(token::with_leeway(start().checked_add(DAY).unwrap())));
    let (header, _) = header_and_claims(&text);
    assert_eq!(header, json!({"typ": "sallyport+jwt", "alg": "ES256", "kid": world.keys.key_id()}));
}

#[tokio::test]
async fn an_expired_token_is_told_from_an_invalid_one_and_clocks_may_differ_a_little() {
    let world = World::new().await;
    let (_, text) = world.token("vic", "main", SignedDuration::from_mins(10)).await;
    let end = start().checked_add(SignedDuration::from_mins(10)).unwrap();
    let at = |seconds: i64| end.checked_add(SignedDuration::from_secs(seconds)).unwrap();
    assert!(world.access.authenticate(&text, at(29)).is_ok());
    assert_eq!(world.access.authenticate(&text, at(30)), Err(AuthError::Expired { at: end }));
    let before = |seconds: i64| start().checked_sub(SignedDuration::from_secs(seconds)).unwrap();
    assert!(world.access.authenticate(&text, before(30)).is_ok());
    assert_eq!(world.access.authenticate(&text, before(31)), Err(AuthError::NotYetValid { from: start() }));
}

#[tokio::test]
async fn a_token_signed_by_another_key_is_refused_whatever_its_header_says() {
    let world = World::new().await;
    let (_, text) = world.token("vic", "main", DAY).await;
    let (header, claims) = header_and_claims(&text);
    let other = MemoryKeys::new();
    let same_kid = sign(&other, &header, &claims).await;
    assert_eq!(world.access.authenticate(&same_kid, start()), Err(AuthError::Signature));
    let mut own_kid = header.clone();
    own_kid["kid"] = json!(other.key_id());
    assert_eq!(
        world.access.authenticate(&sign(&other, &own_kid, &claims).await, start()),
        Err(AuthError::OtherKey)
    );
    let mut no_kid = header;
    no_kid.as_object_mut().unwrap().remove("kid");
    assert_eq!(
        world.access.authenticate(&sign(&world.keys, &no_kid, &claims).await, start()),
        Err(AuthError::OtherKey)
    );
}

#[tokio::test]
async fn no_algorithm_but_es256_passes() {
    let world = World::new().await;
    let (_, text) = world.token("vic", "main", DAY).await;
    let (header, claims) = header_and_claims(&text);
    let with = |alg: &str| {
        let mut header = header.clone();
        header["alg"] = json!(alg);
        format!("{}.{}", encode(&header), encode(&claims))
    };
    for alg in ["none", "None", "NONE", "", "ES256K", "nonsense"] {
        for signature in ["", "AAAA"] {
            let token = format!("{}.{signature}", with(alg));
            assert_eq!(world.access.authenticate(&token, start()), Err(AuthError::Algorithm), "{alg}");
        }
    }
    // The classic: our public key as the secret of an HMAC (RFC 8725 section 2.1).
    let point = world.keys.public_key_p256();
    for secret in [point.clone(), point[1..].to_vec()] {
        let input = with("HS256");
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
        let tag = aws_lc_rs::hmac::sign(&key, input.as_bytes());
        let token = format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag));
        assert_eq!(world.access.authenticate(&token, start()), Err(AuthError::Algorithm));
    }
    for alg in ["ES384", "RS256", "PS256", "EdDSA", "HS512"] {
        let signature = world.keys.sign_es256(with(alg).into_bytes()).await.unwrap();
        let token = format!("{}.{}", with(alg), URL_SAFE_NO_PAD.encode(signature));
        assert_eq!(world.access.authenticate(&token, start()), Err(AuthError::Algorithm), "{alg}");
    }
}

#[tokio::test]
async fn every_altered_byte_of_a_token_is_noticed() {
    let world = World::new().await;
    let (_, text) = world.token("vic", "main", DAY).await;
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(bytes).unwrap();
        assert!(world.access.authenticate(&altered, start()).is_err(), "byte {at}");
    }
    for cut in [0, 1, 10, text.len() - 1] {
        assert!(world.access.authenticate(&text[..cut], start()).is_err(), "cut at {cut}");
    }
}

#[tokio::test]
async fn every_claim_is_needed_and_must_be_ours() {
    let world = World::new().await;
    let (_, text) = world.token("vic", "main", DAY).await;
    let (header, claims) = header_and_claims(&text);
    for claim in ["iss", "aud", "sub", "tenant", "iat", "nbf", "exp", "jti"] {
        let mut without = claims.clone();
        without.as_object_mut().unwrap().remove(claim);
        let token = sign(&world.keys, &header, &without).await;
        assert!(
            matches!(world.access.authenticate(&token, start()), Err(AuthError::Malformed(_))),
            "{claim}"
        );
    }
    for (claim, value, expected) in [
        ("iss", json!("https://elsewhere"), AuthError::OtherGateway),
        ("aud", json!("https://elsewhere"), AuthError::OtherGateway),
        ("sub", json!("role:admin"), AuthError::Malformed("a name or an id has the wrong form")),
        ("sub", json!("user:anonymous"), AuthError::Malformed("a token can't be for user:anonymous")),
        ("tenant", json!("*"), AuthError::Malformed("a name or an id has the wrong form")),
        ("jti", json!("x"), AuthError::Malformed("a name or an id has the wrong form")),
        ("exp", json!(i64::MAX), AuthError::Malformed("a time is out of range")),
        ("exp", json!("tomorrow"), AuthError::Malformed("a claim is missing or has the wrong form")),
    ] {
        let mut changed = claims.clone();
        changed[claim] = value;
        let token = sign(&world.keys, &header, &changed).await;
        assert_eq!(world.access.authenticate(&token, start()), Err(expected), "{claim}");
    }
    let mut demanding = header;
    demanding["crit"] = json!(["exp"]);
    let token = sign(&world.keys, &demanding, &claims).await;
    assert!(matches!(world.access.authenticate(&token, start()), Err(AuthError::Malformed(_))));
}

#[tokio::test]
async fn a_well_signed_token_that_the_ledger_doesnt_know_is_refused() {
    let world = World::new().await;
    let (_, text) = world.token("vic", "main", DAY).await;
    let (header, mut claims) = header_and_claims(&text);
    claims["jti"] = json!(TokenId::new(start(), [1; 10]).to_string());
    let token = sign(&world.keys, &header, &claims).await;
    assert_eq!(world.access.authenticate(&token, start()), Err(AuthError::Unrecorded));
    // Nor does a recorded token speak for anybody but its own person, in its own tenant.
    let (_, claims) = header_and_claims(&text);
    for (claim, value) in [("sub", "user:alice"), ("tenant", "other")] {
        let mut changed = claims.clone();
        changed[claim] = json!(value);
        let token = sign(&world.keys, &header, &changed).await;
        assert_eq!(world.access.authenticate(&token, start()), Err(AuthError::Unrecorded), "{claim}");
    }
    // A token whose record says an earlier end than its text ends then.
    let mut longer = claims;
    longer["exp"] = json!(start().as_second() + 1_000_000);
    let token = sign(&world.keys, &header, &longer).await;
    let later = start().checked_add(SignedDuration::from_hours(48)).unwrap();
    assert!(matches!(world.access.authenticate(&token, later), Err(AuthError::Expired { .. })));
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_and_after_a_restart() {
    let world = World::new().await;
    let (id, text) = world.token("vic", "main", DAY).await;
    let identity = world.access.authenticate(&text, start()).unwrap();
    let permit = world.permit(&identity, "open");
    world.access.revoke_token(Caller::Operator, id, None).await.unwrap();
    assert_eq!(world.access.authenticate(&text, start()), Err(AuthError::Revoked));
    assert_eq!(ended(&permit).await.cause, Cause::TokenRevoked);
    // An identity proved before is no way around it.
    assert!(world.is_denied(&identity, "open"));
    assert!(matches!(
        refusal(world.access.request(&identity, ask("demo", 5)).await),
        Err(Refusal::Standing(AuthError::Revoked))
    ));
    let again = world.restarted(&world.log).await;
    assert_eq!(again.authenticate(&text, start()), Err(AuthError::Revoked));
}

#[tokio::test]
async fn a_session_ends_when_its_token_does() {
    let world = World::new().await;
    let (_, text) = world.token("vic", "main", SignedDuration::from_mins(10)).await;
    let identity = world.access.authenticate(&text, start()).unwrap();
    let permit = world.permit(&identity, "open");
    world.clock.forward(SignedDuration::from_mins(10));
    world.clock.forward(token::LEEWAY);
    assert_eq!(ended(&permit).await.cause, Cause::TokenExpired);
    assert!(world.is_denied(&identity, "open"));
}

#[tokio::test]
async fn tokens_are_issued_by_admins_of_the_same_tenant_for_people_and_for_a_bounded_time() {
    let world = World::new().await;
    let (admin, visitor) = (world.login("alice").await, world.login("vic").await);
    let foreign = world.login_to("mallory", "other").await;
    let issue = |by: Caller, who: &str, life: SignedDuration| {
        let (access, who) = (world.access.clone(), user(who));
        async move { refusal(access.issue_token(by, who, main_tenant(), life, Scope::whole()).await).map(drop) }
    };
    assert_eq!(issue((&admin).into(), "new", DAY).await, Ok(()));
    assert!(matches!(issue((&visitor).into(), "vic", DAY).await, Err(Refusal::NotAllowed { .. })));
    assert!(matches!(issue((&foreign).into(), "alice", DAY).await, Err(Refusal::OtherTenant { .. })));
    assert!(matches!(
        issue(Identity::anonymous(main_tenant()).into(), "x", DAY).await,
        Err(Refusal::NotAPerson)
    ));
    assert!(matches!(issue((&admin).into(), "anonymous", DAY).await, Err(Refusal::NoTokenFor { .. })));
    for life in [SignedDuration::ZERO, -DAY, SignedDuration::from_hours(401 * 24), SignedDuration::MAX] {
        assert_eq!(issue((&admin).into(), "new", life).await, Err(Refusal::TokenLife), "{life}");
    }
}

#[tokio::test]
async fn an_endless_token_is_refused_before_it_is_read() {
    let world = World::new().await;
    let endless = "a".repeat(token::MAX_TOKEN + 1);
    assert_eq!(
        world.access.authenticate(&endless, start()),
        Err(AuthError::TooLong { length: token::MAX_TOKEN + 1 })
    );
    for junk in ["", ".", "..", "...", "a.b.c", "é.é.é", "\0", &".".repeat(2_000)] {
        assert!(world.access.authenticate(junk, start()).is_err(), "{junk:?}");
    }
}

#[tokio::test]
async fn tokens_of_a_key_that_was_replaced_stand_until_they_end_and_survive_a_restart() {
    let world = World::new().await;
    let (_, short) = world.token("vic", "main", SignedDuration::from_hours(1)).await;
    let (_, long) = world.token("vic", "main", DAY).await;
    let end = token::with_leeway(start().checked_add(DAY).unwrap());
    let next = MemoryKeys::new();
    let until = world.access.replace_token_key(Caller::Operator, next.clone(), true, None).await.unwrap();
    assert_eq!(until, end, "when the last of its tokens ends, and not later");
    let (_, new) = world.token("vic", "main", SignedDuration::from_hours(1)).await;
    let (header, _) = header_and_claims(&new);
    assert_eq!(header["kid"], json!(next.key_id()));

    let listed = |access: &Access| -> Vec<_> {
        access.token_keys().into_iter().map(|key| (key.key.key_id(), key.until)).collect()
    };
    let both = [(next.key_id(), None), (world.keys.key_id(), Some(end))];
    assert_eq!(listed(&world.access), both);
    let restarted = world.reopened_with(next.clone()).await;
    for access in [&world.access, &restarted] {
        for text in [&short, &long, &new] {
            assert!(access.authenticate(text, start()).is_ok());
        }
        assert!(access.authenticate(&long, end.checked_sub(SignedDuration::from_secs(1)).unwrap()).is_ok());
        assert_eq!(access.authenticate(&long, end), Err(AuthError::KeyRetired { at: end }));
        assert_eq!(listed(access), both);
    }
    // A start at which the provider still has the old key, as after a crash between record and promotion.
    let halfway = world.reopened_with(world.keys.clone()).await;
    assert!(halfway.authenticate(&long, start()).is_ok());
}

#[tokio::test]
async fn a_key_that_is_revoked_at_once_takes_its_tokens_and_what_stands_on_them_with_it() {
    let world = World::new().await;
    let (_, text) = world.token("vic", "main", DAY).await;
    let next = MemoryKeys::new();
    world.access.replace_token_key(Caller::Operator, next.clone(), false, None).await.unwrap();
    let restarted = world.reopened_with(next.clone()).await;
    for access in [&world.access, &restarted] {
        assert_eq!(access.authenticate(&text, start()), Err(AuthError::OtherKey));
        assert_eq!(access.token_keys().len(), 1);
    }
    // Even if the old key were still there, its tokens are gone.
    let halfway = world.reopened_with(world.keys.clone()).await;
    assert_eq!(halfway.authenticate(&text, start()), Err(AuthError::Revoked));
}

#[tokio::test]
async fn whoever_may_not_run_the_keys_replaces_none_and_the_attempt_is_recorded() {
    let world = World::new().await;
    let (_, text) = world.token("vic", "main", DAY).await;
    let vic = world.access.authenticate(&text, start()).unwrap();
    let refused = world.access.replace_token_key(&vic, MemoryKeys::new(), true, None).await;
    assert!(matches!(refused, Err(AccessError::Refused(Refusal::NotAllowed { .. }))), "{refused:?}");
    assert_eq!(world.access.token_keys().len(), 1);
    assert!(world.access.authenticate(&text, start()).is_ok());
    assert!(matches!(
        world.log.facts().last(),
        Some(crate::access::fact::Fact::Refused(attempt)) if attempt.attempt == crate::access::fact::Attempt::ReplaceTokenKey
    ));
}
