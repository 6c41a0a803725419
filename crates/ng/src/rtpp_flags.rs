//! `rtpp-flags`: one string of flags that newer clients leave to the relay to take apart (`ref/ng-protocol.md` §4).
//!
//! | text | read as |
//! | --- | --- |
//! | `word` | an item of `flags`; inside a list, an item of it |
//! | `key=word` | the key with that string |
//! | `key=[a b]` | the key with a list |
//! | `key=[op=[a b]]` | the key with a dictionary: what begins with `name=` |
//!
//! Gives the same tape as the other two notations, under the same limits; one pass, no recursion.

use std::borrow::Cow;

use crate::tape::{Builder, DocumentError, Tape};

/// A dictionary, or nothing when brackets do not match, a key stands in a list, or a limit is passed.
pub(crate) fn parse(text: &[u8]) -> Option<Tape<'_>> {
    read(text).ok()
}

/// Up to the first of ` =[]`.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| b" =[]".contains(b)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, &[]))
}

fn after_spaces(text: &[u8]) -> &[u8] {
    let at = text.iter().position(|b| *b != b' ').unwrap_or(text.len());
    text.get(at..).unwrap_or_default()
}

fn read(text: &[u8]) -> Result<Tape<'_>, DocumentError> {
    let mut tape = Builder::new(text.len());
    let mut open = 0usize;
    tape.open(true)?;
    let mut rest = after_spaces(text);
    while let Some((&first, after_first)) = rest.split_first() {
        let (name, after) = word(rest);
        let in_dict = tape.in_dict() == Some(true);
        match first {
            b']' => {
                open = open.checked_sub(1).ok_or(DocumentError::Syntax)?;
                tape.close()?;
                rest = after_first;
            }
            b'[' if !in_dict => {
                open = open.saturating_add(1);
                rest = container(&mut tape, after_first)?;
            }
            b'[' | b'=' => return Err(DocumentError::Syntax),
            _ => match after.split_first() {
                Some((b'=', value)) if in_dict => {
                    tape.text(Cow::Borrowed(name))?;
                    rest = match value.split_first() {
                        Some((b'[', inside)) => {
                            open = open.saturating_add(1);
                            container(&mut tape, inside)?
                        }
                        _ => {
                            // A value may have an equals sign of its own.
                            let end = value.iter().position(|b| b" ]".contains(b)).unwrap_or(value.len());
                            let (value, after) = value.split_at_checked(end).unwrap_or((value, &[]));
                            tape.text(Cow::Borrowed(value))?;
                            after
                        }
                    };
                }
                _ => {
                    let end = rest.iter().position(|b| b" ]".contains(b)).unwrap_or(rest.len());
                    let (item, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
                    if in_dict {
                        tape.text(Cow::Borrowed(b"flags"))?;
                    }
                    tape.text(Cow::Borrowed(item))?;
                    rest = after;
                }
            },
        }
        rest = after_spaces(rest);
    }
    if open != 0 {
        return Err(DocumentError::Syntax);
    }
    tape.close()?;
    tape.finish()
}

/// Opens what a bracket begins, by what comes first in it; gives what is after the bracket.
fn container<'t>(tape: &mut Builder<'t>, inside: &'t [u8]) -> Result<&'t [u8], DocumentError> {
    let inside = after_spaces(inside);
    let (name, after) = word(inside);
    tape.open(!name.is_empty() && after.first() == Some(&b'='))?;
    Ok(inside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::{Node, View};

    /// The tape as text: `{k:v}`, `[a,b]`.
    fn show(view: View<'_, '_>) -> String {
        let list = |parts: Vec<String>| parts.join(",");
        match view.node() {
            Node::Text(t) => String::from_utf8_lossy(t).into_owned(),
            Node::Int(i) => i.to_string(),
            Node::List { .. } => format!("[{}]", list(view.items().map(show).collect())),
            Node::Dict { .. } => {
                let pair = |(k, v): (&[u8], _)| format!("{}:{}", String::from_utf8_lossy(k), show(v));
                format!("{{{}}}", list(view.entries().map(pair).collect()))
            }
        }
    }

    fn shown(text: &str) -> Option<String> {
        Some(show(parse(text.as_bytes())?.root()?))
    }

    #[test]
    fn words_lists_and_dictionaries() {
        let all = "  replace-origin ICE=remove codec=[ transcode=[PCMA PCMU] strip=all ] direction=[a b] x=[[1 2] [3]] ";
        assert_eq!(
            shown(all).unwrap(),
            "{flags:replace-origin,ICE:remove,codec:{transcode:[PCMA,PCMU],strip:all},direction:[a,b],x:[[1,2],[3]]}"
        );
        assert_eq!(shown("").unwrap(), "{}");
        assert_eq!(shown("a=b=c d=[]").unwrap(), "{a:b=c,d:[]}");
        // In a list it is an item, equals sign and all.
        assert_eq!(shown("a=[b x=y]").unwrap(), "{a:[b,x=y]}");
    }

    #[test]
    fn t_ng_02_what_a_text_makes_of_memory_is_told() {
        let words = "w ".repeat(1_000);
        let tape = parse(words.as_bytes()).unwrap();
        assert!(tape.allocated_bytes() >= 1_000 * size_of::<Node<'_>>(), "{}", tape.allocated_bytes());
    }

    #[test]
    fn t_ng_02_unbalanced_and_deep_text_is_refused() {
        for bad in ["a=[", "]", "a=[b]]", "=x", "[a]", "a=[x=[y=[z]"] {
            assert_eq!(shown(bad), None, "{bad}");
        }
        assert_eq!(shown(&format!("a={}{}", "[".repeat(30_000), "]".repeat(30_000))), None);
        assert_eq!(shown(&"a ".repeat(5_000)), None, "more elements than one document may have");
    }
}
