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
