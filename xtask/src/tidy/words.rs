//! Words in lines of source text.

/// Whether `c` can be a part of an identifier.
fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `phrase` occurs in `line` with no letter, digit or underscore at either side of it.
pub(super) fn contains_phrase(line: &str, phrase: &str) -> bool {
    line.match_indices(phrase).any(|(start, found)| {
        let before = line[..start].chars().next_back();
        let after = line[start + found.len()..].chars().next();
        let open = |neighbour: Option<char>, edge: Option<char>| {
            !(neighbour.is_some_and(in_word) && edge.is_some_and(in_word))
        };
        open(before, phrase.chars().next()) && open(after, phrase.chars().next_back())
    })
}

/// The identifier at the start of `text`.
pub(super) fn leading_identifier(text: &str) -> &str {
    let end = text.find(|c| !in_word(c)).unwrap_or(text.len());
    &text[..end]
}

/// The name that `line` declares, if it starts with one of `keywords` after `pub` and the like.
pub(super) fn declared<'a>(line: &'a str, keywords: &[&str]) -> Option<&'a str> {
    let mut rest = line.trim_start();
    loop {
        let word = leading_identifier(rest);
        let after = rest[word.len()..].trim_start();
        if keywords.contains(&word) {
            let name = leading_identifier(after);
            return (!name.is_empty()).then_some(name);
        }
        match word {
            "pub" | "async" | "unsafe" | "const" => rest = skip_parenthesis(after),
            _ => return None,
        }
    }
}

/// What follows the `(crate)` of a visibility.
fn skip_parenthesis(text: &str) -> &str {
    let inner = text.strip_prefix('(').and_then(|text| text.split_once(')'));
    inner.map_or(text, |(_, after)| after.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_is_found_as_whole_words_only() {
        assert!(contains_phrase("// one ring, twice", "one ring"));
        assert!(!contains_phrase("// one ringing", "one ring"));
        assert!(contains_phrase("x.sleep!(1)", "sleep!("));
        assert!(!contains_phrase("AUTOSTART", "TOST"));
    }

    #[test]
    fn a_declaration_gives_its_name() {
        let kinds = ["struct", "fn"];
        assert_eq!(
            declared("pub(crate) struct Ring<T> {", &kinds),
            Some("Ring")
        );
        assert_eq!(declared("    pub const fn of(x: u8) {", &kinds), Some("of"));
        assert_eq!(declared("let structure = 1;", &kinds), None);
        assert_eq!(declared("// fn in a comment", &kinds), None);
    }
}
