//! HTML reduced to what is safe and visible (SPEC section 9).

use std::collections::{HashMap, HashSet};

use ammonia::Builder;

/// Marks an element that its author hid; taken out after the sanitizer has made the tags well-formed.
const HIDDEN: &str = "display:none";

/// Elements without an end tag.
const VOID: &[&str] = &["br", "hr", "col", "wbr", "img", "area", "input", "link", "meta"];

/// Deepest nesting: beyond it a letter is no letter.
const MAX_DEPTH: usize = 400;

/// Most tags of a page. The parser's work grows with the square of the depth, and only the parser itself knows the
/// depth: comments, quotes and foreign elements hide end tags from every other reader.
const MAX_TAGS: usize = 20_000;

/// Most signs that are spelled out (`&amp;`): each costs the parser as much as a hundred letters.
const MAX_REFERENCES: usize = 200_000;

/// HTML without remote content, scripts, forms, styles, frames, hidden text and tracking. Links keep their target
/// when it is http, https or mailto; pictures go, as they load from elsewhere or are attachments anyway.
pub fn safe_html(html: &str) -> String {
    let mut builder = Builder::default();
    builder
        .rm_tags(["img", "map", "area", "figure", "figcaption"])
        .add_clean_content_tags([
            "title", "head", "noscript", "template", "iframe", "object", "form", "textarea", "select",
        ])
        .generic_attributes(HashSet::from(["dir", "lang", "style", "hidden"]))
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .url_relative(ammonia::UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer nofollow"))
        .attribute_filter(|_, attribute, value| match attribute {
            "style" => is_hiding(value).then_some(HIDDEN.into()),
            "hidden" => Some("".into()),
            "cite" | "class" | "id" | "name" | "src" | "background" => None,
            _ => Some(value.into()),
        });
    let Some(page) = page(html) else { return String::new() };
    let clean = builder.clean(bounded(page)).to_string();
    // What the sanitizer wrote is well-formed, so that its depth is known.
    let clean = match too_deep(&clean) {
        Some(at) => builder.clean(&clean[..at]).to_string(),
        None => clean,
    };
    without_hidden(&clean)
}

/// The page, unless it has more tags than any letter: then only its text is taken.
fn page(html: &str) -> Option<&str> {
    let more = |sign: u8, most: usize| html.bytes().filter(|byte| *byte == sign).nth(most).is_some();
    (!more(b'<', MAX_TAGS) && !more(b'&', MAX_REFERENCES)).then_some(html)
}

/// Where well-formed HTML passes the deepest nesting.
fn too_deep(clean: &str) -> Option<usize> {
    let (mut depth, mut at) = (0usize, 0usize);
    while let Some(start) = clean[at..].find('<') {
        at += start;
        let tag = &clean[at..at + tag_len(&clean[at..])?];
        let name: String = tag[1..].chars().take_while(char::is_ascii_alphanumeric).collect();
        if tag.starts_with("</") {
            depth = depth.saturating_sub(1);
        } else if !VOID.contains(&name.as_str()) {
            depth += 1;
        }
        if depth > MAX_DEPTH {
            return Some(at);
        }
        at += tag.len();
    }
    None
}

/// Plain text of an HTML document with the targets of its links as footnotes; hidden text is not in it.
pub fn html_to_text(html: &str) -> String {
    if page(html).is_none() {
        return strip_tags(html).trim().to_owned();
    }
    let safe = safe_html(html);
    let text = html2text::from_read(safe.as_bytes(), 100).unwrap_or_else(|_| strip_tags(&safe));
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// Nesting so deep that a recursive renderer would exhaust the stack is cut off. Only an end tag whose element is
/// open counts, so that stray ones don't hide the depth.
fn bounded(html: &str) -> &str {
    let mut open: HashMap<String, usize> = HashMap::new();
    let mut depth = 0usize;
    for (at, _) in html.match_indices('<') {
        let rest = &html.as_bytes()[at + 1..];
        let (closes, rest) = rest.strip_prefix(b"/").map_or((false, rest), |r| (true, r));
        let name: Vec<u8> = rest.iter().take(16).copied().take_while(u8::is_ascii_alphanumeric).collect();
        let name = String::from_utf8_lossy(&name).to_ascii_lowercase();
        // These end by themselves where the next begins.
        if name.is_empty() || VOID.contains(&name.as_str()) || matches!(name.as_str(), "p" | "li" | "option") {
            continue;
        }
        let count = open.entry(name).or_default();
        if !closes {
            *count += 1;
            depth += 1;
        } else if *count > 0 {
            *count -= 1;
            depth = depth.saturating_sub(1);
        }
        if depth > MAX_DEPTH {
            return &html[..at];
        }
    }
    html
}

fn is_hiding(style: &str) -> bool {
    let style: String = style.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
    style.split(';').any(|rule| {
        let Some((name, value)) = rule.split_once(':') else { return false };
        let value = value.trim_end_matches("!important");
        let zero = |v: &str| {
            let n = v.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '%');
            n.parse::<f32>().is_ok_and(|n| n.abs() < f32::EPSILON)
        };
        match name {
            "display" => value == "none",
            "visibility" => matches!(value, "hidden" | "collapse"),
            "opacity" | "font-size" | "max-height" | "max-width" | "height" | "width" | "line-height" => {
                zero(value) || (name == "font-size" && value == "1px")
            }
            "mso-hide" => value == "all",
            "color" => value == "transparent",
            "text-indent" | "left" | "top" | "margin-left" => value.starts_with("-9"),
            _ => false,
        }
    })
}

/// Takes hidden elements out of well-formed HTML as the sanitizer writes it.
fn without_hidden(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut hidden: Option<usize> = None;
    let mut depth = 0usize;
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        if hidden.is_none() {
            out.push_str(&rest[..start]);
        }
        let Some(len) = tag_len(&rest[start..]) else {
            rest = "";
            break;
        };
        let tag = &rest[start..start + len];
        rest = &rest[start + len..];
        let name: String = tag[1..].trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        if tag.starts_with("</") {
            depth = depth.saturating_sub(1);
            match hidden {
                Some(at) if at == depth => hidden = None,
                Some(_) => {}
                None => out.push_str(tag),
            }
            continue;
        }
        let hides = tag.contains(" style=\"display:none\"") || tag.contains(" hidden=\"\"");
        let void = VOID.contains(&name.as_str());
        if hidden.is_none() && !hides {
            out.push_str(tag);
        } else if hidden.is_none() && !void {
            hidden = Some(depth);
        }
        if !void {
            depth += 1;
        }
    }
    if hidden.is_none() {
        out.push_str(rest);
    }
    out
}

/// Length of the tag that a text begins with; `>` in quotes doesn't end it.
fn tag_len(text: &str) -> Option<usize> {
    let mut quoted = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn strip_tags(html: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_active_remote_or_hidden_is_left() {
        for (html, want) in [
            ("<p>a<script>alert(1)</script></p>", "<p>a</p>"),
            ("<p>a<img src=\"https://t.example/x.gif\" onerror=x></p>", "<p>a</p>"),
            ("<div style=\"display: none\">secret<br><b>x</b></div><p>a</p>", "<p>a</p>"),
            ("<span style='font-size:0px'>x</span>a", "a"),
            ("<p hidden>x</p>a", "a"),
            ("<p style='color:red'>a</p>", "<p>a</p>"),
            ("<form action='https://e.example'><input name=a>x</form>a", "a"),
            ("<style>p{}</style><link rel=stylesheet href=x><p>a</p>", "<p>a</p>"),
            ("<a href='javascript:x'>a</a>", "<a rel=\"noopener noreferrer nofollow\">a</a>"),
            ("<iframe src=x>y</iframe>a", "a"),
            ("<blockquote cite='https://t.example'>a</blockquote>", "<blockquote>a</blockquote>"),
            (
                "<table background='https://t.example'><tbody><tr><td>a</td></tr></tbody></table>",
                "<table><tbody><tr><td>a</td></tr></tbody></table>",
            ),
        ] {
            assert_eq!(safe_html(html), want, "{html}");
        }
    }

    #[test]
    fn links_stay_visible_in_text() {
        let text = html_to_text("<p>see <a href=\"https://x.example/a?b=1\">here</a></p>");
        assert!(text.contains("here") && text.contains("https://x.example/a?b=1"), "{text}");
    }

    /// THREATS 8: end tags that only a careless reader counts must not hide how deep a page is.
    #[test]
    fn row_08_no_page_is_too_deep_or_too_long_to_read() {
        for piece in [
            "<div><!--</div>-->",
            "<div title=\"</div>\">",
            "<div><script></div></script>",
            "<x-a></x-b>",
            "<aaaaaaaaaaaaaaaa1></aaaaaaaaaaaaaaaa2>",
            "<svg><style><g></style>",
            "<b><p>",
            "<table><tr><td>",
            "<a href=x></b>",
        ] {
            let tags = piece.matches('<').count();
            for times in [MAX_TAGS / tags - 1, 10 * MAX_TAGS] {
                quickly(&format!("debut {} fin", piece.repeat(times)), piece);
            }
        }
        for (piece, times) in
            [("<", 1_000_000), ("<!--", 1_000_000), ("&amp;", 1_000_000), ("&amp;", 20_000), ("a", 500_000)]
        {
            quickly(&format!("debut {} fin", piece.repeat(times)), piece);
        }
    }

    fn quickly(page: &str, what: &str) {
        let start = std::time::Instant::now();
        let text = html_to_text(page);
        assert!(text.starts_with("debut"), "{what}: {:?}", text.get(..40));
        assert!(start.elapsed().as_secs() < 60, "{what}: {:?}", start.elapsed());
    }

    #[test]
    fn a_tower_of_tags_does_not_exhaust_the_stack() {
        let tower = format!("a{}b", "<div>".repeat(100_000));
        assert!(html_to_text(&tower).starts_with('a'));
        let hidden = format!("a{}b", "<div></x>".repeat(100_000));
        assert!(html_to_text(&hidden).starts_with('a'));
    }
}
