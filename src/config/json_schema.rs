//! The configuration as a JSON schema, so that an editor completes and judges `cadre.toml` while it is written.
//!
//! It refuses nothing that [`Config::load`](super::Config::load) takes. What it can't say (an address has one role, a
//! schedule that never fires, a frame with a gap) `cadre check` says.

use chrono_tz::TZ_VARIANTS;
use serde_json::{Map, Value, json};
use toml_edit::Value as Toml;

use super::schema::{Key, Kind, Need, SECTIONS, Section};

/// `config/cadre.schema.json`: JSON Schema draft 7, the latest that editors' TOML tools know (taplo).
pub fn json_schema() -> String {
    let mut root = object("Cadre's configuration. `cadre check` says what a schema can't.");
    for section in SECTIONS {
        add(&mut root, section);
    }
    root.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
    root.insert("title".to_owned(), json!("cadre.toml"));
    let zones: Vec<&str> = TZ_VARIANTS.iter().map(|zone| zone.name()).collect();
    root.insert("definitions".to_owned(), json!({ "zone": { "enum": zones } }));
    format!("{:#}\n", Value::Object(root))
}

type Object = Map<String, Value>;

/// An object in which nothing but what is added to it may stand.
fn object(doc: &str) -> Object {
    let mut object = Object::new();
    object.insert("type".to_owned(), json!("object"));
    object.insert("description".to_owned(), json!(doc));
    object.insert("additionalProperties".to_owned(), json!(false));
    object.insert("properties".to_owned(), json!({}));
    object.insert("required".to_owned(), json!([]));
    object
}

/// Adds a section where its path says.
fn add(root: &mut Object, section: &Section) {
    let mut place = root;
    let (above, name) = section.path.rsplit_once('.').unwrap_or(("", section.path));
    for step in above.split('.').filter(|step| !step.is_empty()) {
        let Some(next) = place.get_mut("properties").and_then(|properties| properties.get_mut(step)) else { return };
        let next = if next.get("items").is_some() { &mut next["items"] } else { next };
        let Some(next) = next.as_object_mut() else { return };
        place = next;
    }
    let needed = section.keys.iter().any(|key| matches!(key.need, Need::Required(_)));
    if needed && !section.commented {
        require(place, name);
    }
    let value = Value::Object(of_section(section));
    let value = match (section.list, needed && !section.commented) {
        (true, needed) => json!({ "type": "array", "items": value, "minItems": u8::from(needed) }),
        (false, _) => value,
    };
    place["properties"][name] = value;
}

fn require(object: &mut Object, name: &str) {
    if let Some(required) = object.get_mut("required").and_then(Value::as_array_mut) {
        required.push(json!(name));
    }
}

fn of_section(section: &Section) -> Object {
    let mut object = object(section.doc);
    let log_in = section.key("token_command").is_some();
    for key in section.keys {
        object["properties"][key.name] = of_key(key);
        // Which proof a log-in needs depends on `auth`, below.
        if matches!(key.need, Need::Required(_)) && !(log_in && key.name == "password_file") {
            require(&mut object, key.name);
        }
    }
    if log_in {
        log_in_rules(&mut object, section);
    }
    object
}

/// A user name comes with the proof that `auth` asks for, and with no other; a proof without a user name proves nothing.
fn log_in_rules(object: &mut Object, section: &Section) {
    let by_token = json!({ "required": ["token_command"], "not": { "required": ["password_file"] } });
    let by_password = json!({ "required": ["password_file"], "not": { "required": ["token_command"] } });
    object.insert("if".to_owned(), json!({ "properties": { "auth": { "const": "xoauth2" } }, "required": ["auth"] }));
    if section.key("username").is_some_and(|key| matches!(key.need, Need::Required(_))) {
        object.insert("then".to_owned(), by_token);
        object.insert("else".to_owned(), by_password);
    } else {
        object.insert("then".to_owned(), json!({ "dependencies": { "username": by_token } }));
        object.insert("else".to_owned(), json!({ "dependencies": { "username": by_password } }));
        object
            .insert("dependencies".to_owned(), json!({ "password_file": ["username"], "token_command": ["username"] }));
    }
}

fn of_key(key: &Key) -> Value {
    let mut value = of_kind(key.kind);
    let mut doc = key.doc.to_owned();
    match key.need {
        Need::Default(literal) => value["default"] = plain(literal),
        Need::Derived(rule, _) => doc = format!("{doc}\nDefault: {rule}"),
        Need::Required(_) | Need::Optional(_) | Need::Frame(_) => {}
    }
    value["description"] = json!(doc);
    value["examples"] = json!([plain(key.need.example())]);
    value
}

/// What a value must look like. The patterns are as wide as [`super::parse`]; texts may have blanks around them.
fn of_kind(kind: Kind) -> Value {
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    match kind {
        Kind::Text | Kind::Path | Kind::Secret => text(r"\S"),
        Kind::Texts => json!({ "anyOf": [
            text(r"\S"),
            {
                "type": "object",
                "additionalProperties": false,
                "minProperties": 1,
                "properties": { "fr": { "type": "string" }, "en": { "type": "string" } },
            },
        ] }),
        Kind::Words(words) => json!({ "enum": words }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Port => json!({ "type": "integer", "minimum": 1, "maximum": u16::MAX }),
        Kind::Count => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        Kind::Duration => text(r"^\s*([0-9]+\s*(s|sec|m|min|h|d)\s*)+$"),
        Kind::Size => text(r"^\s*[0-9]+\s*([bB]|[kKmMgG]([iI]?[bB])?)?\s*$"),
        Kind::Hour => text(r"^\s*([01]?[0-9]|2[0-3]):[0-5]?[0-9](:[0-5]?[0-9])?\s*$"),
        Kind::Date => text(r"^\s*[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}\s*$"),
        Kind::Cron => text(r"^\s*(\S+\s+){5}[^\s0-9]+\s*$"),
        Kind::Zone => json!({ "allOf": [{ "$ref": "#/definitions/zone" }] }),
        Kind::Address => text(r"^\s*\S.*@.*\S\s*$"),
    }
}

/// A TOML literal as JSON has it; dates are texts there.
fn plain(literal: &str) -> Value {
    match literal.parse::<Toml>() {
        Ok(Toml::Integer(number)) => json!(number.value()),
        Ok(Toml::Boolean(flag)) => json!(flag.value()),
        Ok(Toml::String(text)) => json!(text.value()),
        _ => json!(literal),
    }
}
