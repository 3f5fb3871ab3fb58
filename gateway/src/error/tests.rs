#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

/// The list in the documentation is [`reference`]'s.
#[test]
fn the_list_in_the_documentation_is_current() {
    let page = include_str!("../../../docs/errors.md");
    let (_, rest) = page.split_once("<!-- reference begins -->\n").expect("its begin");
    let (list, _) = rest.split_once("<!-- reference ends -->").expect("its end");
    assert!(
        list.trim() == reference().trim(),
        "write this between the marks of docs/errors.md:\n\n{}",
        reference()
    );
}

#[test]
fn every_code_is_listed_once_and_says_what_to_do() {
    for code in ErrorCode::ALL {
        let count = ErrorCode::ALL.iter().filter(|other| other.as_str() == code.as_str()).count();
        assert_eq!(count, 1, "{}", code.as_str());
        assert!(code.advice().len() > 20, "{}", code.as_str());
    }
}

#[test]
fn words_about_a_form_repeat_no_text() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum Order {
        Ascending,
    }
    let of = |error: serde_json::Error| super::form(&error);
    let number = |json: &str| of(serde_json::from_str::<Vec<u8>>(json).unwrap_err());
    for json in ["\"secret\"", "[\"secret\"]", "\"secret\\\", expected secret\"", "[1, \"secret\"]"]
    {
        let words = number(json);
        assert!(!words.contains("secret"), "{json}: {words}");
        assert!(words.contains("a string, expected"), "{json}: {words}");
    }
    let words = of(serde_json::from_str::<Order>("\"secret\"").unwrap_err());
    assert!(!words.contains("secret") && words.contains("expected"), "{words}");
    assert_eq!(number("[1"), "EOF while parsing a list at line 1 column 2");
}
