//! The continent of each country, for databases and networks that name the country alone.

use crate::model::Code;

/// ISO 3166-1 countries by continent, divided as GeoNames does, whose division MaxMind and DB-IP use.
const CONTINENTS: [(&str, &str); 7] = [
    (
        "AF",
        "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU MW MZ NA NE NG RE RW SC \
         SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
    ),
    ("AN", "AQ BV GS HM TF"),
    (
        "AS",
        "AE AF AM AZ BD BH BN BT CC CN GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO MV MY NP OM PH PK PS QA SA \
         SG SY TH TJ TM TR TW UZ VN YE",
    ),
    (
        "EU",
        "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV MC MD ME MK MT NL NO PL \
         PT RO RS RU SE SI SJ SK SM UA VA XK",
    ),
    ("NA", "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM PR SV SX TC TT US VC VG VI"),
    ("OC", "AS AU CK CX FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU WF WS"),
    ("SA", "AR BO BR CL CO EC FK GF GY PE PY SR UY VE"),
];

/// For each pair of letters, one more than the place of its continent in [`CONTINENTS`]; 0: no country. Databases ask millions of times.
const BY_COUNTRY: [u8; 26 * 26] = {
    let mut table = [0; 26 * 26];
    let mut continent = 0;
    while continent < CONTINENTS.len() {
        let countries = CONTINENTS[continent].1.as_bytes();
        let mut at = 0;
        while at < countries.len() {
            table[index(countries[at], countries[at + 1])] = continent as u8 + 1;
            at += 3;
        }
        continent += 1;
    }
    table
};

/// The place of two capital letters in a table of all pairs.
const fn index(first: u8, second: u8) -> usize {
    (first - b'A') as usize * 26 + (second - b'A') as usize
}

/// The continent that a country lies in.
pub(super) fn continent_of(country: Code) -> Option<Code> {
    let place = match country.as_str().as_bytes() {
        [first @ b'A'..=b'Z', second @ b'A'..=b'Z'] => BY_COUNTRY[index(*first, *second)],
        _ => 0,
    };
    let (continent, _) = CONTINENTS.get(usize::from(place).checked_sub(1)?)?;
    Code::parse(continent).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_country_stands_once() {
        let mut all: Vec<&str> = CONTINENTS.iter().flat_map(|(_, countries)| countries.split(' ')).collect();
        assert!(all.iter().all(|c| c.len() == 2));
        assert_eq!(all.len(), 250, "249 of ISO 3166-1, and XK");
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 250);
        let of = |country: &str| continent_of(Code::parse(country).unwrap()).map(|c| c.to_string());
        assert_eq!(of("FR").as_deref(), Some("EU"));
        assert_eq!(of("US").as_deref(), Some("NA"));
        assert_eq!(of("ZW").as_deref(), Some("AF"));
        assert_eq!(of("AR").as_deref(), Some("SA"));
        assert_eq!(of("ZZ"), None);
        assert_eq!(of("U1"), None);
    }
}
