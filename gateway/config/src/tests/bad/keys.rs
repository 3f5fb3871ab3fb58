//! Lists of API keys in files of their own.

use crate::api_keys;

#[rustfmt::skip]
/// Lists of API keys as files have them.
const KEYS: &[(&str, &str)] = &[
    ("", "keys.yaml: is an empty list, so no app could publish; list at least one key"),
    ("[]", "keys.yaml:1:1: is an empty list, so no app could publish; list at least one key"),
    (
        "- {name: a, sha256: s3cret, scopes: [read]}",
        "keys.yaml:1:21: [0].sha256: takes the key's SHA-256 in 64 hexadecimal digits, not the key; make it with `printf %s \"$KEY\" | sha256sum`",
    ),
    ("keys: []", "keys.yaml:1:1: takes a list: `- name: …`, not a section"),
    (
        "- {name: a, sha256: s3cret, scope: [read]}",
        "keys.yaml:1:29: [0].scope: unknown key; did you mean `scopes`?\nkeys.yaml:1:3: [0].scopes: is missing; it takes a list: `[…]`",
    ),
    ("- s3cret", "keys.yaml:1:3: [0]: takes a section with `channels`, `name`, `scopes` and `sha256`, not text"),
];

#[test]
fn every_bad_list_of_keys_is_refused_in_words_that_say_what_to_do() {
    for (text, expected) in KEYS {
        let error = api_keys(text.as_bytes(), "keys.yaml").unwrap_err();
        assert_eq!(error.to_string(), *expected, "\n{text}");
    }
}
