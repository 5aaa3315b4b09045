//! The continent of each country, for databases and networks that name the country alone.

use crate::model::{COUNTRIES, Code};

/// For each pair of letters, one more than the place of its continent in [`COUNTRIES`]; 0: no country. Databases ask millions of times.
const BY_COUNTRY: [u8; 26 * 26] = {
    let mut table = [0; 26 * 26];
    let mut continent = 0;
    while continent < COUNTRIES.len() {
        let countries = COUNTRIES[continent].1.as_bytes();
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
    let (continent, _) = COUNTRIES.get(usize::from(place).checked_sub(1)?)?;
    Code::parse(continent).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_country_lies_in_a_continent() {
        let of = |country: &str| continent_of(Code::parse(country).unwrap()).map(|c| c.to_string());
        assert_eq!(of("FR").as_deref(), Some("EU"));
        assert_eq!(of("US").as_deref(), Some("NA"));
        assert_eq!(of("ZW").as_deref(), Some("AF"));
        assert_eq!(of("AR").as_deref(), Some("SA"));
        assert_eq!(of("ZZ"), None);
        assert_eq!(of("U1"), None);
    }
}
