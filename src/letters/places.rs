//! Names of countries, for the fourth element of the frame.

use crate::model::Language;

/// Where French and English are practised, and their neighbours.
const COUNTRIES: [(&str, &str, &str); 20] = [
    ("AT", "Autriche", "Austria"),
    ("AU", "Australie", "Australia"),
    ("BE", "Belgique", "Belgium"),
    ("CA", "Canada", "Canada"),
    ("CH", "Suisse", "Switzerland"),
    ("DE", "Allemagne", "Germany"),
    ("DK", "Danemark", "Denmark"),
    ("ES", "Espagne", "Spain"),
    ("FR", "France", "France"),
    ("GB", "Royaume-Uni", "United Kingdom"),
    ("IE", "Irlande", "Ireland"),
    ("IT", "Italie", "Italy"),
    ("LU", "Luxembourg", "Luxembourg"),
    ("MC", "Monaco", "Monaco"),
    ("NL", "Pays-Bas", "Netherlands"),
    ("NZ", "Nouvelle-Zélande", "New Zealand"),
    ("PT", "Portugal", "Portugal"),
    ("SE", "Suède", "Sweden"),
    ("UK", "Royaume-Uni", "United Kingdom"),
    ("US", "États-Unis", "United States"),
];

/// "France", from `FR` or `FR-57`; what isn't known stays as it was written.
pub(super) fn country(code: &str, language: Language) -> String {
    let key = code.split('-').next().unwrap_or(code).trim().to_ascii_uppercase();
    let known = COUNTRIES.iter().find(|(k, _, _)| *k == key);
    known.map_or_else(
        || code.to_owned(),
        |(_, fr, en)| match language {
            Language::Fr => (*fr).to_owned(),
            Language::En => (*en).to_owned(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_have_names_and_others_stay_as_they_are() {
        assert_eq!(country("FR", Language::En), "France");
        assert_eq!(country("ca-qc", Language::Fr), "Canada");
        assert_eq!(country("Sénégal", Language::Fr), "Sénégal");
    }
}
