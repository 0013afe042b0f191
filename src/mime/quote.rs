//! Where a reply ends and what it quotes begins: the marks of many mail programs in many languages.

use std::sync::LazyLock;

use regex::Regex;

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern, compiled in the tests")
}

/// How an attribution ends, in the languages that mail programs write it.
const VERBS: &str = r"(?:wrote|writes|a écrit|a ecrit|écrit|schrieb|schrieben|schreibt|geschrieben|ha scritto|scrive|escribió|escribio|escreveu|schreef|het volgende geschreven|geschreven|skrev|skrev følgende|kirjoitti|napisał(?:\(a\)|a)?|napisal\(a\)|pisze|пишет|написал(?:\(а\)|а)?|пише|написав|írta|napsal(?:\(a\)|a)?|napísal(?:\(a\)|a)?|scris|yazdı|a scris|έγραψε|kirjutas|rašė|写道|のメール|님이 작성)";

static ENDS: LazyLock<Regex> =
    LazyLock::new(|| pattern(&format!(r"(?i){VERBS}\s*(?:\([^)]*\)\s*)?(?:[:：]|-{{2,}})\s*$|写道\s*[:：]?\s*$")));

/// How an attribution that is broken over lines begins.
const STARTS_TEXT: &str = r"(?i)^(?:-+\s*)?(?:(?:On|Le|In data|Am|Il|El|Em|Op|Den|Dnia|W dniu|Dne|În|På|Pada)(?:[\s,]|$)|(?:ma|ti|ke|to|pe|la|su)\s+\d|\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[./ ])";
static STARTS: LazyLock<Regex> = LazyLock::new(|| pattern(STARTS_TEXT));

/// The verb before the name: Nordic, Dutch and German programs; with a time of day, so that no sentence is meant.
static INVERTED: LazyLock<Regex> =
    LazyLock::new(|| pattern(&format!(r"(?i)\d{{1,2}}[:.]\d{{2}}.{{0,20}}\b{VERBS}\b.{{1,150}}[:：]\s*$")));

/// A whole attribution on one line that needs no known beginning: it names an address.
static NAMED: LazyLock<Regex> =
    LazyLock::new(|| pattern(&format!(r"(?i)^\W{{0,3}}.{{0,160}}<?[^\s<>@]+@[^\s<>@]+>?.{{0,40}}{VERBS}\s*[:：]\s*$")));

/// Gmail's form with only a time and a name.
const STAMP_TEXT: &str = r"^\d{4}-\d{2}-\d{2} \d{1,2}:\d{2}(?::\d{2})? (?:GMT|UTC)[+-]\d{1,2}:\d{2}[ :].*";
static STAMP: LazyLock<Regex> = LazyLock::new(|| pattern(STAMP_TEXT));

/// A separator line with words between dashes.
const ORIGINAL_TEXT: &str = r"(?i)^\*?\s*-{2,}\s*(?:original (?:message|e-?mail|appointment)|reply message|message d.origine|message original|message transféré|message initial|mail original|courriel original|ursprüngliche (?:nachricht|mail)|original-?nachricht|weitergeleitete nachricht|messaggio originale|messaggio inoltrato|mensaje original|mensaje reenviado|mensagem original|mensagem encaminhada|oorspronkelijk bericht|doorgestuurd bericht|opprinnelig melding|ursprungligt meddelande|oprindelig meddelelse|original ?meddelelse|alkuperäinen viesti|исходное сообщение|пересылаемое сообщение|пересланное сообщение|wiadomość oryginalna|oryginalna wiadomość|původní zpráva|eredeti üzenet|mesaj original|forwarded message|begin forwarded message|quoted (?:message|text))\s*-{2,}\s*\*?$";
static ORIGINAL: LazyLock<Regex> = LazyLock::new(|| pattern(ORIGINAL_TEXT));

/// The first field of a header block that Outlook and others put above a quotation.
const FROM_LINE_TEXT: &str = r"(?i)^\W{0,3}(?:From|Sent|Envoyé|Gesendet|De|Von|Da|Van|Fra|Från|Od|От|Відправник|Lähettäjä|Expéditeur|Feladó|Kimden|寄件者|发件人|差出人)\s?[:：]\*?\s*\S";
static FROM_LINE: LazyLock<Regex> = LazyLock::new(|| pattern(FROM_LINE_TEXT));

/// Any field of such a block.
static FIELD_LINE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)^\W{0,3}(?:From|Sent|To|Cc|Subject|Date|Reply-To|Importance|De|Envoyé|Envoyé le|À|A|Objet|Date|Cc|Von|Gesendet|An|Betreff|Datum|Da|Inviato|Data|Oggetto|Risposta|Para|Enviado|Enviado el|Enviada em|Asunto|Assunto|Fecha|Van|Verzonden|Aan|Onderwerp|Fra|Sendt|Dato|Til|Emne|Från|Skickat|Till|Ämne|Od|Wysłano|Do|Temat|От|Отправлено|Кому|Тема|Дата|Lähettäjä|Lähetetty|Vastaanottaja|Aihe|Expéditeur|Destinataire|Sujet|Répondre à|Odesláno|Komu|Předmět|Feladó|Elküldve|Címzett|Tárgy)\s?[:：]\*?(?:\s|$)",
    )
});

/// A line above a header block.
const RULE_TEXT: &str = r"^\s*(?:_{5,}|-{5,}|={5,}|\*{5,})\s*$";
static RULE: LazyLock<Regex> = LazyLock::new(|| pattern(RULE_TEXT));

/// What a heading can begin with, but for [`NAMED`]: most lines are none, and are told so by one look.
static BEGINS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        &[STARTS_TEXT, STAMP_TEXT, ORIGINAL_TEXT, FROM_LINE_TEXT, RULE_TEXT]
            .map(|text| format!("(?:{text})"))
            .join("|"),
    )
});

/// What telephones put below.
static DEVICE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)^(?:<<|\()?\s*(?:(?:sent|envoyé|envoye|gesendet|enviado|enviada|inviato|sendt|verzonden|skickat|wysłane|wysłano|lähetetty|отправлено|odesláno)\s+(?:from|via|with|by|de|du|depuis|à partir|à l.aide|mit|von|da|dal|desde|do|fra|vanaf|met|från|z|с|using)\b.{0,100}|von mein.{0,60}gesendet\.?|diese nachricht wurde von .{0,60}gesendet\.?|get \[?outlook for.{0,80}|obtenir \[?outlook.{0,80}|télécharger \[?outlook.{0,80}|outlook f(?:ür|or) .{0,60}|from my (?:iphone|ipad|android|phone|mobile).{0,40}|someone from mobile|從我的 .{0,20}傳送|.{0,30}から送信|发自我的.{0,30})\)?(?:>>)?\s*$",
    )
});

/// Words without which "Sent from my desk" is a sentence.
static KNOWN_DEVICE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)iphone|ipad|ipod|android|t[ée]l[ée]phone|phone|mobile?|handy|cell|blackberry|samsung|galaxy|htc|huawei|xiaomi|pixel|outlook|mail|yahoo|windows|thunderbird|k-9|proton|傳送|送信|发自",
    )
});

fn is_device(line: &str) -> bool {
    DEVICE.is_match(line)
        && (KNOWN_DEVICE.is_match(line) && !line.contains(", is ")
            || line.split_whitespace().count() <= 5 && !line.contains(','))
}

/// One line of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    /// The writer's own.
    Own,
    /// Behind `>`.
    Quoted,
    /// Attributions, banners, separators: in neither.
    Gone,
    /// Nothing but white space.
    Blank,
}

/// How many `>` stand before a line, and the line behind them.
pub(super) fn unquote(line: &str) -> (usize, &str) {
    let mut rest = line;
    let mut depth = 0;
    loop {
        let open = rest.trim_start_matches([' ', '\t', '\u{a0}']);
        match open.strip_prefix('>') {
            // Indentation before the first sign is not a quotation.
            Some(behind) if depth > 0 || rest.len() - open.len() < 4 => {
                depth += 1;
                rest = behind;
            }
            _ => break,
        }
    }
    (depth, if depth > 0 { rest.strip_prefix(' ').unwrap_or(rest) } else { line })
}

/// Marks every line. What stands below a signature separator, an Outlook header or an attribution without `>` is gone.
pub(super) fn mark(lines: &[&str]) -> Vec<Mark> {
    let bare: Vec<(usize, &str)> = lines.iter().map(|l| unquote(l)).collect();
    let mut marks: Vec<Mark> = bare
        .iter()
        .map(|(depth, text)| match (depth, text.trim().is_empty()) {
            (0, true) => Mark::Blank,
            (0, false) => Mark::Own,
            _ => Mark::Quoted,
        })
        .collect();
    let mut at = 0;
    while at < lines.len() {
        let (depth, text) = (bare[at].0, bare[at].1.trim());
        if depth == 0 && matches!(text, "--") && marks[at] == Mark::Own {
            marks[at..].fill(Mark::Gone);
            break;
        }
        if let Some((len, to_the_end)) = heading(&bare[at..], depth) {
            let behind = at + len;
            let quoted = depth > 0 || quote_follows(&bare[behind..]);
            // "Le 3 mars, vous m'avez écrit :" can be the writer's own sentence: what stands below it without a
            // quotation mark is only taken for a quotation when the line names an address or a code, or has the year
            // and the time of day that programs write.
            let told = bare[at..behind].iter().any(|(_, line)| names_somebody(line)) || is_stamped(&bare[at..behind]);
            if !quoted && !to_the_end && !told {
                at = behind;
                continue;
            }
            marks[at..behind].fill(Mark::Gone);
            if depth == 0 && (to_the_end || !quoted) {
                marks[behind..].fill(Mark::Gone);
                break;
            }
            at = behind;
            continue;
        }
        at += 1;
    }
    drop_devices(lines, &mut marks);
    marks
}

/// Whether a line holds an address or a client's code, as the attributions of programs do.
fn names_somebody(line: &str) -> bool {
    line.contains('@') || CODE.is_match(line)
}

/// Whether an attribution has year and time, as programs write them and people hardly ever do.
fn is_stamped(lines: &[(usize, &str)]) -> bool {
    let joined: String = lines.iter().map(|(_, line)| format!("{line} ")).collect();
    YEAR.is_match(&joined) && TIME.is_match(&joined)
}

static YEAR: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b(?:19|20)\d\d\b"));
static TIME: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b\d{1,2}[:.h]\d{2}\b"));

/// A client's code.
static CODE: LazyLock<Regex> = LazyLock::new(|| pattern(r"\bC-[2-9A-HJ-NP-Z]{4}\b"));

fn quote_follows(rest: &[(usize, &str)]) -> bool {
    rest.iter().find(|(depth, text)| *depth > 0 || !text.trim().is_empty()).is_some_and(|(depth, _)| *depth > 0)
}

/// Lines that a quotation's heading takes at the start of `rest`, and whether all below belongs to it.
fn heading(rest: &[(usize, &str)], depth: usize) -> Option<(usize, bool)> {
    let first = rest.first()?.1.trim();
    if first.is_empty() || first.len() > 500 {
        return None;
    }
    if !first.contains('@') && !BEGINS.is_match(first) {
        return None;
    }
    if ORIGINAL.is_match(first) {
        return Some((1, true));
    }
    if let Some(len) = header_block(rest) {
        return Some((len, true));
    }
    if NAMED.is_match(first) {
        return Some((1, false));
    }
    if STAMP.is_match(first) {
        let next = rest.get(1).map_or("", |l| l.1.trim());
        return Some((if !first.ends_with(':') && next.ends_with(':') { 2 } else { 1 }, false));
    }
    if !STARTS.is_match(first) {
        return None;
    }
    let mut joined = String::new();
    let mut blanks = 0;
    for (index, (d, line)) in rest.iter().enumerate().take(6) {
        let line = line.trim();
        if *d != depth && index > 0 {
            // The `>` of a broken `<address>` looks like a quotation.
            let broken = *d == depth + 1 && joined.contains('<') && may_end(line) && ENDS.is_match(line);
            return broken.then_some((index + 1, false));
        }
        // An attribution begins here: what stands above it is the writer's own.
        let begins = line.starts_with(char::is_alphabetic) && line.chars().any(|c| c.is_ascii_digit());
        if index > 0 && begins && STARTS.is_match(line) {
            return None;
        }
        if line.is_empty() {
            blanks += 1;
            if blanks > 1 {
                break;
            }
        }
        joined.push(' ');
        joined.push_str(line);
        if joined.len() > 500 {
            break;
        }
        if may_end(&joined)
            && (ENDS.is_match(&joined) || INVERTED.is_match(&joined))
            && joined.chars().any(|c| c.is_ascii_digit() || c == '@')
        {
            return Some((index + 1, false));
        }
    }
    None
}

/// What [`ENDS`] and [`INVERTED`] end with, which both search the whole text.
fn may_end(text: &str) -> bool {
    let text = text.trim_end();
    text.ends_with([':', '：']) || text.ends_with("--") || text.ends_with("写道")
}

/// Outlook's block of fields: a From-like line and at least two more fields close by.
fn header_block(rest: &[(usize, &str)]) -> Option<usize> {
    let mut start = 0;
    if RULE.is_match(rest.first()?.1) {
        start = 1 + rest[1..].iter().take_while(|(_, l)| l.trim().is_empty()).count();
    }
    if !FROM_LINE.is_match(rest.get(start)?.1) {
        return None;
    }
    let mut fields = 0;
    let mut end = start;
    for (index, (_, line)) in rest.iter().enumerate().skip(start).take(10) {
        if FIELD_LINE.is_match(line) {
            fields += 1;
            end = index + 1;
        } else if line.trim().is_empty() && fields >= 3 {
            break;
        }
    }
    (fields >= 3).then_some(end)
}

/// Drops what a telephone appended: only at the end of a stretch of own text.
fn drop_devices(lines: &[&str], marks: &mut [Mark]) {
    for at in (0..lines.len()).rev() {
        if marks[at] != Mark::Own {
            continue;
        }
        let below = marks[at + 1..].iter().find(|m| **m != Mark::Blank);
        let last = !matches!(below, Some(Mark::Own));
        if last && is_device(lines[at].trim()) {
            marks[at] = Mark::Gone;
        }
    }
}
