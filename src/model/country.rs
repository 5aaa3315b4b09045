//! Which codes are countries. A code that nobody has matches nobody, and nobody would notice.

use super::Code;

/// ISO 3166-1 alpha-2 codes of countries by continent, divided as GeoNames does, whose division MaxMind and DB-IP use; and XK, which both
/// use for Kosovo.
pub const COUNTRIES: [(&str, &str); 7] = [
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

/// Codes that people write for those of ISO 3166-1, and for which country.
const MISTAKEN: [(&str, &str, &str); 7] = [
    ("UK", "GB", "the United Kingdom"),
    ("EL", "GR", "Greece"),
    ("SP", "ES", "Spain"),
    ("SW", "SE", "Sweden"),
    ("DR", "DO", "the Dominican Republic"),
    ("TP", "TL", "Timor-Leste"),
    ("ZR", "CD", "the Democratic Republic of the Congo"),
];

impl Code {
    /// Refuses what is no country's code (ISO 3166-1 alpha-2, and XK), and says which was meant where that is known.
    pub fn country(self) -> Result<Code, String> {
        let code = self.as_str();
        if code.len() == 2 && COUNTRIES.iter().any(|(_, countries)| countries.split(' ').any(|country| country == code)) {
            return Ok(self);
        }
        let meant = MISTAKEN.iter().find(|(mistaken, ..)| *mistaken == code);
        Err(match meant {
            Some((_, right, name)) => format!("{code} is no ISO 3166-1 code; {right} is the code of {name}"),
            None if code == "EU" => "EU is no country but a continent; say so with the continent's field".into(),
            None => format!("an ISO 3166-1 code of two letters such as US, not {code}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_country_stands_once() {
        let mut all: Vec<&str> = COUNTRIES.iter().flat_map(|(_, countries)| countries.split(' ')).collect();
        assert!(all.iter().all(|country| country.len() == 2));
        assert_eq!(all.len(), 250, "249 of ISO 3166-1, and XK");
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 250);
    }

    #[test]
    fn what_is_no_country_is_said_with_what_was_meant() {
        let check = |code: &str, expected: Result<&str, &str>| {
            let found = Code::parse(code).unwrap().country();
            assert_eq!(found.as_ref().map(Code::as_str).map_err(String::as_str), expected);
        };
        check("gb", Ok("GB"));
        check("XK", Ok("XK"));
        check("UK", Err("UK is no ISO 3166-1 code; GB is the code of the United Kingdom"));
        check("EU", Err("EU is no country but a continent; say so with the continent's field"));
        check("USA", Err("an ISO 3166-1 code of two letters such as US, not USA"));
        check("ZZ", Err("an ISO 3166-1 code of two letters such as US, not ZZ"));
        for (mistaken, right, _) in MISTAKEN {
            assert!(Code::parse(mistaken).unwrap().country().is_err() && Code::parse(right).unwrap().country().is_ok(), "{mistaken}");
        }
    }
}
