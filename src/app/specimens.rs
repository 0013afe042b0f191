//! What `letters preview` puts into made-up letters: the practice's own frame.

use serde_json::{Map, Value as Json, json};

use super::enrol::frame;
use crate::config::{Config, Therapist};
use crate::letters::Lines;
use crate::model::Language;

/// What is known of the practice, under the names that letters have for it.
pub fn own_facts(config: &Config, lines: &Lines, therapist: &Therapist, language: Language) -> Map<String, Json> {
    let cadre = &therapist.cadre;
    let mut own = Map::new();
    let mut put = |key: &str, value: Json| {
        if value.as_str() != Some("") {
            own.insert(key.to_owned(), value);
        }
    };
    put("practice", json!(config.practice.name));
    put("neutral_name", json!(config.practice.neutral_name.get(language)));
    put("channel", json!(cadre.channel.get(language)));
    put("price", json!(cadre.price.get(language)));
    put("fallback", json!(cadre.fallback.get(language)));
    put("colleague", json!(cadre.colleague.get(language)));
    put("server", json!(frame::server(cadre, language)));
    put("records", json!(frame::records(cadre, language)));
    put("other_way", json!(cadre.fallback.get(language)));
    put("lines", json!(lines.crisis(&config.practice.country, language)));
    put("violence_lines", json!(lines.violence(&config.practice.country, language)));
    put("limit", json!(config.intake.max_message));
    let person = json!({
        "name": therapist.name,
        "title": therapist.title,
        "register": therapist.register,
        "country": therapist.country,
    });
    put("therapist", person);
    own
}
