#![allow(clippy::unwrap_used, clippy::expect_used)]

use axum::http::header;

use super::*;

struct File(PathBuf);

impl File {
    fn new(name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("push-token-{name}-{}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn headers(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, value.parse().unwrap());
    headers
}

/// The next look reads the file.
fn forget(token: &AdminToken) {
    let known = token.known.load();
    let at = Instant::now().checked_sub(FRESH).unwrap();
    let next = Known { at, tokens: known.tokens.clone(), refused: known.refused.clone() };
    token.known.store(next.into());
}

#[tokio::test]
async fn only_who_has_a_line_of_the_file_is_let_in() {
    let file = File::new("lines", "old\n new \n\n");
    let token = AdminToken::open(&file.0, Metrics::default()).unwrap();
    for good in ["Bearer old", "bearer new", "Bearer  new "] {
        assert_eq!(token.check(&headers(good)).await, Ok(()), "{good}");
    }
    for bad in ["Bearer ", "Bearer", "Bearer olds", "Bearer ol", "Basic old", "old"] {
        let error = token.check(&headers(bad)).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unauthorized, "{bad}");
    }
    assert!(token.check(&HeaderMap::new()).await.is_err());
}

#[tokio::test]
async fn a_changed_file_is_taken_and_a_bad_one_is_not() {
    let file = File::new("changed", "one");
    let metrics = Metrics::default();
    let token = AdminToken::open(&file.0, metrics.clone()).unwrap();
    std::fs::write(&file.0, "two").unwrap();
    forget(&token);
    assert_eq!(token.check(&headers("Bearer two")).await, Ok(()));
    assert!(token.check(&headers("Bearer one")).await.is_err());

    for _ in 0..2 {
        std::fs::write(&file.0, "\n").unwrap();
        forget(&token);
        assert_eq!(token.check(&headers("Bearer two")).await, Ok(()), "the old one stays");
    }
    let refused = metrics.config_reloads.get_or_create(&OutcomeLabel { outcome: "refused" }).get();
    assert_eq!(refused, 1, "each trouble once");
}

#[test]
fn a_file_without_a_token_is_told_at_the_start() {
    let file = File::new("empty", " \n");
    let error = AdminToken::open(&file.0, Metrics::default()).err().unwrap().to_string();
    assert!(error.contains("the file is empty") && error.contains("`admin.tokenFile`"), "{error}");
    assert!(AdminToken::open(Path::new("/nowhere/token"), Metrics::default()).is_err());
}
