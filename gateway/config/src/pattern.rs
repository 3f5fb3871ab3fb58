//! NATS wildcards over channel names: `*` is one token, a last `>` the rest.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::subject;

/// A channel pattern as written in rules, grants and API keys: `orders.>`,
/// `chat.*.typing`, `news`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: String,
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Token {
    /// The token as it stands in a subject.
    Literal(String),
    /// `*`
    One,
    /// `>`
    Rest,
}

/// Why a pattern isn't one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It has no character at all.
    #[error("a channel pattern is empty; write a channel name, or `>` for every channel")]
    Empty,
    /// Two dots in a row, or one at an end.
    #[error("the channel pattern `{0}` has an empty token; remove the extra `.`")]
    EmptyToken(String),
    /// `>` before the end.
    #[error("the channel pattern `{0}` has `>` before its end; `>` may only be the last token")]
    RestNotLast(String),
    /// Over 200 bytes, or a control character.
    #[error("the channel pattern `{0}` is over 200 bytes or has a control character")]
    Invalid(String),
}

// === impl Pattern ===

impl Pattern {
    /// Reads a pattern as it is written.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > 200 || text.chars().any(char::is_control) {
            return Err(PatternError::Invalid(text.escape_debug().to_string()));
        }
        // A user's id is one token, whatever is in it; so is a socket's.
        for kind in ["$user", "$sid"] {
            let id = text.strip_prefix(kind).and_then(|rest| rest.strip_prefix('.'));
            if let Some(id) = id.filter(|id| !matches!(*id, "" | "*" | ">")) {
                let tokens = vec![
                    Token::Literal(kind.to_owned()),
                    Token::Literal(subject::encode_token(id)),
                ];
                return Ok(Self { text: text.to_owned(), tokens });
            }
        }
        let words: Vec<&str> = text.split('.').collect();
        let mut tokens = Vec::with_capacity(words.len());
        for (index, word) in words.iter().enumerate() {
            tokens.push(match *word {
                "" => return Err(PatternError::EmptyToken(text.to_owned())),
                "*" => Token::One,
                ">" if index + 1 == words.len() => Token::Rest,
                ">" => return Err(PatternError::RestNotLast(text.to_owned())),
                literal => Token::Literal(subject::encode_token(literal)),
            });
        }
        Ok(Self { text: text.to_owned(), tokens })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The pattern as a NATS subject filter.
    pub fn to_subject(&self) -> String {
        let words: Vec<&str> = self
            .tokens
            .iter()
            .map(|token| match token {
                Token::Literal(literal) => literal.as_str(),
                Token::One => "*",
                Token::Rest => ">",
            })
            .collect();
        words.join(".")
    }

    /// Whether the first token is a wildcard. Such a pattern never matches a
    /// name that begins with `$`.
    pub fn starts_with_wildcard(&self) -> bool {
        !matches!(self.tokens.first(), Some(Token::Literal(_)))
    }

    /// Whether a channel, given as its subject, matches.
    pub fn matches_subject(&self, channel: &str) -> bool {
        if channel.starts_with('$') && self.starts_with_wildcard() {
            return false;
        }
        let mut words = channel.split('.');
        for token in &self.tokens {
            match token {
                Token::Rest => return words.next().is_some(),
                Token::One => {
                    if words.next().is_none() {
                        return false;
                    }
                }
                Token::Literal(literal) => {
                    if words.next() != Some(literal) {
                        return false;
                    }
                }
            }
        }
        words.next().is_none()
    }

    /// Whether every channel that `other` matches is matched by this too.
    pub fn covers(&self, other: &Self) -> bool {
        if self.starts_with_wildcard()
            && matches!(other.tokens.first(), Some(Token::Literal(l)) if l.starts_with('$'))
        {
            return false;
        }
        let mut theirs = other.tokens.iter();
        for ours in &self.tokens {
            match (ours, theirs.next()) {
                (Token::Rest, Some(_)) => return true,
                (Token::One, Some(Token::Literal(_) | Token::One)) => {}
                (Token::Literal(a), Some(Token::Literal(b))) if a == b => {}
                _ => return false,
            }
        }
        theirs.next().is_none()
    }

    /// Whether some channel is matched by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let system =
            |p: &Self| matches!(p.tokens.first(), Some(Token::Literal(l)) if l.starts_with('$'));
        if (system(self) && other.starts_with_wildcard())
            || (system(other) && self.starts_with_wildcard())
        {
            return false;
        }
        let (mut a, mut b) = (self.tokens.iter(), other.tokens.iter());
        loop {
            match (a.next(), b.next()) {
                (None, None) | (Some(Token::Rest), Some(_)) | (Some(_), Some(Token::Rest)) => {
                    return true;
                }
                (Some(Token::Literal(x)), Some(Token::Literal(y))) if x != y => return false,
                (Some(_), Some(_)) => {}
                _ => return false,
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Pattern {
    fn schema_name() -> Cow<'static, str> {
        "Pattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 200,
            "description": "A channel pattern: tokens separated by `.`, `*` for one token, a last `>` for the rest",
        })
    }
}
