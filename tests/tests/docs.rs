//! The examples of the documentation, run as they stand.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};

use tests::docs::{has_runnable, run};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// The pages that have something to run; each has its test below.
const PAGES: [&str; 5] =
    ["authentication.md", "clients.md", "errors.md", "operations.md", "publishing.md"];

async fn page(name: &str) {
    assert!(PAGES.contains(&name), "{name}");
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/node_modules");
    assert!(modules.is_dir(), "no {}: run `npm ci` in tests/clients", modules.display());
    let text = std::fs::read_to_string(docs().join(name)).unwrap();
    if let Err(why) = run(&text).await {
        panic!("docs/{name}, {why}");
    }
}

#[tokio::test]
async fn authentication() {
    page("authentication.md").await;
}

#[tokio::test]
async fn clients() {
    page("clients.md").await;
}

#[tokio::test]
async fn errors() {
    page("errors.md").await;
}

#[tokio::test]
async fn operations() {
    page("operations.md").await;
}

#[tokio::test]
async fn publishing() {
    page("publishing.md").await;
}

#[test]
fn no_page_is_left_out() {
    let mut found: Vec<String> = std::fs::read_dir(docs())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .filter(|path| has_runnable(&std::fs::read_to_string(path).unwrap()))
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    found.sort();
    assert_eq!(found, PAGES);
}

// === the runner itself ===

#[tokio::test]
async fn a_page_that_is_true_passes() {
    let text = "\
<!-- run -->\n```sh\nNAME=ann\n```
<!-- run: as greeting -->
```sh\necho \"hello $NAME\"\ncurl -s http://127.0.0.1:8081/v1/channels/news; echo\n```
<!-- output -->\n```json\nhello ann\n{\"channel\":\"news\",…}\n```
<!-- run -->
```js\nconsole.log('http://127.0.0.1:8080'); setTimeout(() => console.log('late'), 50);\n```
<!-- output -->\n```text\nhttp://127.0.0.1:8080\n```
<!-- output -->\n```text\nlate\n```
```sh\nfalse # is only read\n```\n";
    run(text).await.unwrap();
}

#[tokio::test]
async fn a_page_that_is_not_true_fails_and_says_where() {
    for (text, words) in [
        ("\n<!-- run -->\n```sh\necho one\nfalse\necho two\n```\n", ["line 3", "one"]),
        (
            "<!-- run -->\n```sh\necho one; echo two\n```\n<!-- output -->\n```text\none\n```\n",
            ["1 lines", "two"],
        ),
        (
            "<!-- run -->\n```sh\necho one\n```\n<!-- output -->\n```text\nt…o\n```\n",
            ["line 6", "printed\none"],
        ),
        ("<!-- gateway -->\n```yaml\nclient: {lisen: a}\n```\n", ["line 2", "lisen"]),
        ("<!-- output -->\n```text\none\n```\n", ["line 2", "before"]),
        ("<!-- run -->\n```sh\necho one\n", ["line 2", "no end"]),
    ] {
        let why = run(text).await.unwrap_err();
        assert!(words.iter().all(|word| why.contains(word)), "{text}: {why}");
    }
}
