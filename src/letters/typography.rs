//! Typography, laid over a template's own words when it is loaded, so that the files stay easy to write.

/// What follows a digit and belongs to it.
const UNITS: [&str; 9] = ["h", "minutes", "mots", "jours", "jour", "heures", "colonnes", "lettres", "ans"];

/// Puts no-break spaces before `:` (U+00A0), `;` `?` `!` (U+202F) and inside « » (U+00A0), ties units to their
/// numbers, and turns apostrophes into ’. What stands in `{{ }}`, `{% %}`, `{# #}`, `< >` and `` ` ` `` is left alone.
pub fn french(template: &str) -> String {
    let mut out = String::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some((start, end)) = next_island(rest) {
        out.push_str(&words(&rest[..start]));
        out.push_str(&rest[start..end]);
        rest = &rest[end..];
    }
    out.push_str(&words(rest));
    // A sign right behind an expression: "{{ label }} :".
    for (sign, space) in [(":", '\u{a0}'), ("»", '\u{a0}'), (";", '\u{202f}'), ("?", '\u{202f}'), ("!", '\u{202f}')] {
        out = out.replace(&format!("}} {sign}"), &format!("}}{space}{sign}"));
    }
    out.replace("« ", "«\u{a0}")
}

/// English prose needs its apostrophes only; expressions, tags and code are left alone as in [`french`].
pub fn english(template: &str) -> String {
    let mut out = String::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some((start, end)) = next_island(rest) {
        out.push_str(&rest[..start].replace('\'', "’"));
        out.push_str(&rest[start..end]);
        rest = &rest[end..];
    }
    out + &rest.replace('\'', "’")
}

/// The next stretch that isn't prose, as byte offsets.
fn next_island(text: &str) -> Option<(usize, usize)> {
    let pairs = [("{{", "}}"), ("{%", "%}"), ("{#", "#}"), ("<", ">"), ("`", "`")];
    let (start, open, close) =
        pairs.iter().filter_map(|(open, close)| text.find(open).map(|at| (at, *open, *close))).min_by_key(|x| x.0)?;
    let body = start + open.len();
    let end = text[body..].find(close).map_or(text.len(), |at| body + at + close.len());
    Some((start, end))
}

/// The same over plain prose.
fn words(text: &str) -> String {
    let signs: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len() + 16);
    for (i, &c) in signs.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|j| signs.get(j)).copied();
        let after = signs.get(i + 1).copied();
        let next = match (c, after) {
            ('\'', Some(a)) if a.is_alphanumeric() && before.is_none_or(char::is_alphanumeric) => '’',
            ('\'', None) if before.is_some_and(char::is_alphabetic) => '’',
            (' ', Some(':' | '»')) => '\u{a0}',
            (' ', Some(';' | '?' | '!')) => '\u{202f}',
            (' ', _) if before == Some('«') => '\u{a0}',
            (' ', Some(_)) if before.is_some_and(|b| b.is_ascii_digit()) && unit_follows(&signs[i + 1..]) => '\u{a0}',
            _ => c,
        };
        out.push(next);
    }
    out
}

/// Whether a unit, as a whole word, comes next.
fn unit_follows(signs: &[char]) -> bool {
    let word: String = signs.iter().take_while(|c| c.is_alphanumeric()).collect();
    UNITS.contains(&word.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_gets_its_spaces_and_expressions_do_not() {
        assert_eq!(
            french("{{ a }} : l'heure ? « {{ b }} » 24 h {% if x == 'y' %}"),
            "{{ a }}\u{a0}: l’heure\u{202f}? «\u{a0}{{ b }}\u{a0}» 24\u{a0}h {% if x == 'y' %}"
        );
    }

    #[test]
    fn addresses_and_commands_are_left_alone() {
        assert_eq!(french("voir https://exemple.example `/to C-7K2M`"), "voir https://exemple.example `/to C-7K2M`");
    }
}
