//! Tokens that no library would make, byte for byte: most of them signed
//! with the right secret, so that nothing but their form can be refused.

use aws_lc_rs::hmac;

use super::*;

/// A token of these texts, signed with the right secret.
fn signed(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac(hmac::HMAC_SHA256, &message)))
}

fn mac(algorithm: hmac::Algorithm, message: &str) -> Vec<u8> {
    let key = hmac::Key::new(algorithm, SECRET.as_bytes());
    hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
}

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn claims() -> String {
    format!(r#"{{"sub":"ann","exp":{}}}"#, in_an_hour())
}

/// The same with one more member.
fn claims_and(more: &str) -> String {
    format!(r#"{{"sub":"ann","exp":{},{more}}}"#, in_an_hour())
}

async fn code(jwt: &Jwt, token: &str) -> Result<(), ErrorCode> {
    let error = match outcome(jwt, token).await {
        Ok(identity) => {
            assert_eq!(identity.user.as_deref(), Some("ann"));
            return Ok(());
        }
        Err(error) => error,
    };
    // Not a part of what a stranger wrote comes back in the words.
    for part in token.split('.').filter(|part| part.len() > 8) {
        assert!(!error.message.contains(part), "{}", error.message);
    }
    Err(error.code)
}

#[tokio::test]
async fn headers_that_are_none() {
    let refused = [
        ("no alg", r#"{"typ":"JWT"}"#),
        ("null", r#"{"alg":null}"#),
        ("a number", r#"{"alg":256}"#),
        ("a list", r#"{"alg":["HS256"]}"#),
        ("an object", r#"{"alg":{"name":"HS256"}}"#),
        ("empty", r#"{"alg":""}"#),
        ("small letters", r#"{"alg":"hs256"}"#),
        ("a space", r#"{"alg":"HS256 "}"#),
        ("none", r#"{"alg":"none"}"#),
        ("none, spelled oddly", r#"{"alg":"NoNe"}"#),
        ("an encryption's", r#"{"alg":"dir","enc":"A256GCM"}"#),
        ("another family's", r#"{"alg":"RS256"}"#),
        ("of its family, but not the one it is signed with", r#"{"alg":"HS512"}"#),
        ("twice", r#"{"alg":"HS256","alg":"HS256"}"#),
        ("twice, the first none", r#"{"alg":"none","alg":"HS256"}"#),
        ("twice, the last none", r#"{"alg":"HS256","alg":"none"}"#),
        ("crit", r#"{"alg":"HS256","crit":["b64"],"b64":false}"#),
        ("crit of what we check anyway", r#"{"alg":"HS256","crit":["exp"]}"#),
        ("crit of nothing", r#"{"alg":"HS256","crit":[]}"#),
        ("crit that isn't a list", r#"{"alg":"HS256","crit":"b64"}"#),
        ("kid that isn't a text", r#"{"alg":"HS256","kid":7}"#),
        ("kid twice", r#"{"alg":"HS256","kid":"a","kid":"b"}"#),
        ("a list", "[]"),
        ("a text", r#""HS256""#),
        ("null", "null"),
        ("nothing", ""),
        ("cut", r#"{"alg":"HS256""#),
        ("more behind it", r#"{"alg":"HS256"}{"alg":"none"}"#),
        ("not UTF-8 when read as JSON", "{\"alg\":\"HS256\",\"x\":\"\u{0}\"}"),
    ];
    for (what, header) in refused {
        let token = signed(header, &claims());
        assert_eq!(code(&with_secret(), &token).await, Err(ErrorCode::Unauthorized), "{what}");
    }
}

#[tokio::test]
async fn headers_that_lead_elsewhere_are_ignored() {
    // Keys, and places of keys, that a token brings along.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    let jwk = OTHER_RSA.jwk("own");
    let others = [
        format!(r#""jku":"{url}""#),
        format!(r#""x5u":"{url}""#),
        format!(r#""jku":"{url}","kid":"own""#),
        format!(r#""jwk":{jwk}"#),
        r#""x5c":["MIIB"]"#.to_owned(),
        r#""x5t":"AAAA""#.to_owned(),
        r#""cty":"JWT""#.to_owned(),
    ];
    for member in &others {
        // Whoever knows the secret may write them…
        let header = format!(r#"{{"alg":"HS256",{member}}}"#);
        assert_eq!(code(&with_secret(), &signed(&header, &claims())).await, Ok(()), "{member}");
        // …who doesn't gets nothing by them.
        let header = format!(r#"{{"alg":"RS256",{member}}}"#);
        let header: Header = serde_json::from_str(&header).unwrap();
        let token = OTHER_RSA.sign(&header, &json!({ "sub": "ann", "exp": in_an_hour() }));
        let rsa = with_public_key(&RSA.public_pem);
        assert_eq!(code(&rsa, &token).await, Err(ErrorCode::Unauthorized), "{member}");
    }
    let knock = listener.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(knock, Err(std::io::ErrorKind::WouldBlock), "somebody asked there");
}

#[tokio::test]
async fn names_of_keys_are_only_compared() {
    let long = "k".repeat(8_000);
    let kids = [
        "",
        "../../../../dev/null",
        "/dev/null",
        "' OR '1'='1",
        "a\u{0}b",
        "\u{1F511}",
        "http://127.0.0.1/key",
        &long,
    ];
    for kid in kids {
        let header = json!({ "alg": "HS256", "kid": kid }).to_string();
        // There is one key, whatever it is called.
        assert_eq!(code(&with_secret(), &signed(&header, &claims())).await, Ok(()), "{kid:?}");
        let empty = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b""), b"");
        let forged = format!(
            "{}.{}.{}",
            URL_SAFE_NO_PAD.encode(&header),
            URL_SAFE_NO_PAD.encode(claims()),
            URL_SAFE_NO_PAD.encode(empty.as_ref())
        );
        let found = code(&with_secret(), &forged).await;
        assert_eq!(found, Err(ErrorCode::Unauthorized), "{kid:?}");
    }
}

#[tokio::test]
async fn claims_that_are_none() {
    let exp = in_an_hour();
    let refused = [
        ("a list", "[]".to_owned()),
        ("a text", "\"ann\"".to_owned()),
        ("null", "null".to_owned()),
        ("nothing", String::new()),
        ("cut", r#"{"sub":"ann""#.to_owned()),
        ("more behind it", format!("{0}{0}", claims())),
        ("not JSON", format!("{{'sub':'ann','exp':{exp}}}")),
        ("a comment", format!("{}/*", claims())),
        ("exp is no number that there is", r#"{"sub":"ann","exp":1e999}"#.to_owned()),
        ("exp isn't a number", r#"{"sub":"ann","exp":NaN}"#.to_owned()),
        ("exp is true", r#"{"sub":"ann","exp":true}"#.to_owned()),
        ("exp is a text of a number", format!(r#"{{"sub":"ann","exp":"{exp}"}}"#)),
        ("exp in a list", format!(r#"{{"sub":"ann","exp":[{exp}]}}"#)),
        ("exp twice", claims_and(&format!(r#""exp":{exp}"#))),
        ("exp twice, the second for ever", claims_and(r#""exp":253402300799"#)),
        ("sub twice", claims_and(r#""sub":"bob""#)),
        ("channels twice", claims_and(r#""channels":[],"channels":[]"#)),
        ("join twice", claims_and(r#""join":[],"join":[]"#)),
        ("jti twice", claims_and(r#""jti":"a","jti":"b""#)),
        ("iat twice", claims_and(r#""iat":1,"iat":2"#)),
        ("nbf twice", claims_and(r#""nbf":1,"nbf":2"#)),
        ("iss twice", claims_and(r#""iss":"a","iss":"b""#)),
        ("iat in milliseconds", claims_and(&format!(r#""iat":{}"#, exp * 1000))),
        ("iat is a text", claims_and(r#""iat":"today""#)),
        ("half a character", claims_and(r#""sub2":"\ud800""#).replace("sub2", "join")),
    ];
    for (what, claims) in refused {
        let token = signed(HS256, &claims);
        assert!(token.len() <= MAX_TOKEN_BYTES, "{what}: refused for its length");
        assert_eq!(code(&with_secret(), &token).await, Err(ErrorCode::Unauthorized), "{what}");
    }
    // What is deep and looked at by nobody costs nothing.
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    for name in ["meta", "extra"] {
        let token = signed(HS256, &claims_and(&format!(r#""{name}":{deep}"#)));
        assert_eq!(code(&with_secret(), &token).await, Ok(()), "{name}");
    }
    let bytes = [&b"{\"sub\":\"a\xff\",\"exp\":"[..], exp.to_string().as_bytes(), b"}"].concat();
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(HS256), URL_SAFE_NO_PAD.encode(bytes));
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac(hmac::HMAC_SHA256, &message)));
    assert_eq!(code(&with_secret(), &token).await, Err(ErrorCode::Unauthorized), "not UTF-8");
}

#[tokio::test]
async fn one_text_is_one_token() {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // What a lenient decoder would take for the same token: a token that was
    // refused must not come back in another spelling.
    let good = signed(HS256, &claims_and(r#""meta":"??>>~~""#));
    assert_eq!(code(&with_secret(), &good).await, Ok(()));
    let [header, body, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts")
    };
    let last = signature.chars().last().unwrap();
    // 32 bytes are 43 characters: the last one's lowest two bits are unused.
    let place = ALPHABET.find(last).unwrap();
    let sibling = &ALPHABET[place + 1..place + 2];
    let short = URL_SAFE_NO_PAD.encode(&mac(hmac::HMAC_SHA256, &format!("{header}.{body}"))[..16]);
    let long = [mac(hmac::HMAC_SHA256, &format!("{header}.{body}")), vec![0]].concat();
    let spelled = [
        ("padded", format!("{good}=")),
        ("header padded", format!("{header}=.{body}.{signature}")),
        ("claims padded", format!("{header}.{body}==.{signature}")),
        ("unused bits", format!("{header}.{body}.{}{sibling}", &signature[..42])),
        ("of base64's first alphabet", good.replace('-', "+").replace('_', "/")),
        ("a line's end", format!("{good}\n")),
        ("a space before", format!(" {good}")),
        ("a space within", format!("{header}. {body}.{signature}")),
        ("two parts", format!("{header}.{body}")),
        ("no signature", format!("{header}.{body}.")),
        ("no claims", format!("{header}..{signature}")),
        ("no header", format!(".{body}.{signature}")),
        ("four parts", format!("{good}.{signature}")),
        ("an empty fourth", format!("{good}.")),
        ("five parts, as if encrypted", format!("{header}.{body}.{signature}.{body}.{signature}")),
        ("half a signature", format!("{header}.{body}.{short}")),
        ("more than a signature", format!("{header}.{body}.{}", URL_SAFE_NO_PAD.encode(long))),
        ("a bearer's", format!("Bearer {good}")),
        ("a NUL", format!("{good}\0")),
        (
            "as JSON",
            json!({ "protected": header, "payload": body, "signature": signature }).to_string(),
        ),
    ];
    for (what, token) in spelled {
        if token == good {
            continue;
        }
        assert_eq!(code(&with_secret(), &token).await, Err(ErrorCode::Unauthorized), "{what}");
    }
}

#[tokio::test]
async fn a_token_has_a_longest() {
    let filled = |length: usize| {
        let empty = signed(HS256, &claims_and(r#""meta":"""#)).len();
        // Three bytes of text are four of a token.
        signed(HS256, &claims_and(&format!(r#""meta":"{}""#, "x".repeat((length - empty) / 4 * 3))))
    };
    let most = filled(MAX_TOKEN_BYTES);
    assert!(most.len() <= MAX_TOKEN_BYTES && most.len() > MAX_TOKEN_BYTES - 8, "{}", most.len());
    assert_eq!(code(&with_secret(), &most).await, Ok(()));
    for length in [MAX_TOKEN_BYTES + 8, 1 << 20] {
        let error = outcome(&with_secret(), &filled(length)).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unauthorized);
        assert!(error.message.contains("16384"), "{}", error.message);
    }
}

#[tokio::test]
async fn clocks_may_differ_by_the_leeway_and_no_more() {
    let with = |leeway: Option<u64>| Jwt {
        leeway: leeway.map(gateway_config::Period::from_secs),
        ..with_secret()
    };
    let ago = |seconds: u64| format!(r#"{{"sub":"ann","exp":{}}}"#, now() - seconds);
    let ahead = |seconds: u64| claims_and(&format!(r#""nbf":{}"#, now() + seconds));
    let (expired, early) = (Err(ErrorCode::TokenExpired), Err(ErrorCode::Unauthorized));
    let table = [
        (None, ago(2), Ok(())),
        (None, ago(7), expired),
        (None, ahead(2), Ok(())),
        (None, ahead(9), early),
        (Some(0), ago(1), expired),
        (Some(0), ahead(3), early),
        (Some(60), ago(50), Ok(())),
        (Some(60), ago(62), expired),
        (Some(60), ahead(50), Ok(())),
    ];
    for (leeway, claims, expected) in table {
        let found = code(&with(leeway), &signed(HS256, &claims)).await;
        assert_eq!(found, expected, "{leeway:?} {claims}");
    }
}

#[tokio::test]
async fn a_revoked_token_is_refused_until_its_time_is_over() {
    let revocations = Arc::new(Revocations::default());
    let authenticator =
        Authenticator::new(&auth(with_secret()), revocations.clone(), no_callouts()).unwrap();
    let check = async |claims: &str| {
        let token = signed(HS256, claims);
        authenticator.authenticate(of(Some(&token))).await.map(drop).map_err(|error| error.code)
    };
    let until = (now() + 60) * 1_000;
    let mark =
        |kind, of: &str| crate::relay::Mark { kind, of: of.into(), at: now() * 1_000, until };
    revocations.add(&mark(crate::relay::MarkKind::Token, "t1"));
    let table = [
        (r#""jti":"t1""#, Err(ErrorCode::TokenRevoked)),
        (r#""jti":"t2""#, Ok(())),
        (r#""jti":"T1""#, Ok(())),
        (r#""meta":1"#, Ok(())),
    ];
    for (more, expected) in table {
        assert_eq!(check(&claims_and(more)).await, expected, "{more}");
    }
    revocations.add(&mark(crate::relay::MarkKind::User, "ann"));
    let iat = |seconds: i64| format!(r#""iat":{}"#, i64::try_from(now()).unwrap() + seconds);
    let table = [
        (iat(-60), Err(ErrorCode::TokenRevoked)),
        (iat(5), Ok(())),
        (r#""meta":1"#.to_owned(), Err(ErrorCode::TokenRevoked)),
    ];
    for (more, expected) in table {
        assert_eq!(check(&claims_and(&more)).await, expected, "{more}");
    }
}
