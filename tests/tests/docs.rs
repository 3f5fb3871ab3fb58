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

/// The last column of the threat model: what shows each row must be there.
#[test]
fn security_names_only_tests_that_exist() {
    let root = docs().join("..");
    let text = std::fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let rows = text.split("| shown by |").nth(1).unwrap();
    let rows = rows.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut shown = 0;
    for row in rows {
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "nothing shows {row}");
        for name in names {
            assert!(is_there(&root, name), "SECURITY.md names `{name}`, which is not there");
            shown += 1;
        }
    }
    assert!(shown > 40, "{shown} tests in the threat model");
}

fn is_there(root: &Path, name: &str) -> bool {
    let read = |path: String| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    if let Some(group) = name.strip_prefix("attack: ") {
        return read(format!("tests/tests/attack/{group}.rs")).contains("pub fn group()");
    }
    if let Some(target) = name.strip_prefix("fuzz: ") {
        return read(format!("tests/fuzz/src/targets/{target}.rs"))
            .contains("pub(super) const TARGET");
    }
    let Some((place, test)) = name.split_once("::") else {
        return root.join(name).exists();
    };
    let has = |text: &str| text.contains(&format!("fn {test}("));
    if place.contains('/') {
        return has(&read(place.to_owned()));
    }
    // A suite may be in several files.
    let folder = std::fs::read_dir(root.join("tests/tests").join(place));
    let parts = folder
        .into_iter()
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
    has(&read(format!("tests/tests/{place}.rs"))) || parts.into_iter().any(|text| has(&text))
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
