//! Text that is not YAML, or no configuration.

#[rustfmt::skip]
pub(super) const FILES: &[(&str, &str)] = &[
    (
        "client: {}
client: {}",
        "push.yaml:2:1: the key `client` stands here a second time, first in line 1; remove one",
    ),
    (
        "a: [",
        "push.yaml:1:4: is not YAML: unclosed bracket '['; look at the indentation, quotes and brackets here and above",
    ),
    (
        "client:
  listen: a
 listen: b",
        "push.yaml:3:2: is not YAML: while parsing a block mapping, did not find expected key; look at the indentation, quotes and brackets here and above",
    ),
    (
        "- a",
        "push.yaml:1:1: is not a configuration; it begins with a section, as in `client:`",
    ),
    (
        "--- {}
--- {}",
        "push.yaml:2:1: a second document begins here; the configuration is one YAML document",
    ),
    (
        "insecure: !yes true",
        "push.yaml:1:16: a tag (`!name`) has no meaning here; remove it",
    ),
    (
        "a: *b",
        "push.yaml:1:4: is not YAML: while parsing node, found unknown anchor; look at the indentation, quotes and brackets here and above",
    ),
    (
        "x: &x [*x]",
        "push.yaml:1:8: an alias stands inside the value that it names; write the value out",
    ),
    (
        "? [a]
: b",
        "push.yaml:1:3: a list or map stands where a key belongs; write `key: value`, and put quotes around text that begins with `{` or `[`",
    ),
    (
        "hello",
        "push.yaml:1:1: is not a configuration; it begins with a section, as in `client:`",
    ),
    (
        "client:listen",
        "push.yaml:1:1: is not a configuration; it begins with a section, as in `client:`",
    ),
];
