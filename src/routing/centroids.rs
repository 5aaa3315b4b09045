//! Where the people of each country are, for databases and networks that name the country alone.
//!
//! A point for a whole country is rough (hundreds of kilometres in small ones, thousands in the largest), and still tells a region on the
//! own continent from one beyond an ocean.

use crate::model::{Code, Coordinates};

/// Country, and degrees north and east to the half, near the middle of where most people live; in the order of codes.
#[rustfmt::skip]
const CENTROIDS: [(&str, f64, f64); 250] = [
    ("AD", 42.5, 1.5), ("AE", 25.0, 55.0), ("AF", 34.5, 69.0), ("AG", 17.0, -62.0), ("AI", 18.0, -63.0), ("AL", 41.0, 20.0),
    ("AM", 40.0, 44.5), ("AO", -9.5, 14.5), ("AQ", -78.0, 167.0), ("AR", -34.0, -60.0), ("AS", -14.0, -171.0), ("AT", 48.0, 15.5),
    ("AU", -34.0, 148.0), ("AW", 12.5, -70.0), ("AX", 60.0, 20.0), ("AZ", 40.5, 49.0), ("BA", 44.0, 18.0), ("BB", 13.0, -59.5),
    ("BD", 24.0, 90.0), ("BE", 51.0, 4.5), ("BF", 12.5, -1.5), ("BG", 42.5, 24.5), ("BH", 26.0, 50.5), ("BI", -3.5, 29.5),
    ("BJ", 7.0, 2.5), ("BL", 18.0, -63.0), ("BM", 32.5, -65.0), ("BN", 5.0, 115.0), ("BO", -17.0, -66.0), ("BQ", 12.0, -68.5),
    ("BR", -20.0, -46.0), ("BS", 25.0, -77.5), ("BT", 27.5, 90.0), ("BV", -54.5, 3.5), ("BW", -24.0, 26.0), ("BY", 53.5, 28.0),
    ("BZ", 17.5, -88.5), ("CA", 46.0, -79.0), ("CC", -12.0, 97.0), ("CD", -4.0, 20.0), ("CF", 5.0, 18.0), ("CG", -4.0, 15.0),
    ("CH", 47.0, 8.0), ("CI", 6.0, -4.5), ("CK", -21.0, -160.0), ("CL", -33.5, -71.0), ("CM", 4.5, 11.0), ("CN", 33.0, 114.0),
    ("CO", 5.0, -74.5), ("CR", 10.0, -84.0), ("CU", 22.5, -80.5), ("CV", 15.0, -23.5), ("CW", 12.0, -69.0), ("CX", -10.5, 105.5),
    ("CY", 35.0, 33.0), ("CZ", 50.0, 15.0), ("DE", 50.5, 9.5), ("DJ", 11.5, 43.0), ("DK", 55.5, 11.0), ("DM", 15.5, -61.5),
    ("DO", 18.5, -70.0), ("DZ", 36.0, 3.0), ("EC", -1.5, -79.0), ("EE", 59.0, 25.5), ("EG", 30.0, 31.0), ("EH", 25.0, -14.0),
    ("ER", 15.5, 39.0), ("ES", 40.0, -3.5), ("ET", 9.0, 39.0), ("FI", 61.5, 25.0), ("FJ", -18.0, 178.0), ("FK", -51.5, -58.0),
    ("FM", 7.0, 158.0), ("FO", 62.0, -7.0), ("FR", 47.5, 2.5), ("GA", 0.5, 10.0), ("GB", 52.5, -1.5), ("GD", 12.0, -61.5),
    ("GE", 42.0, 44.5), ("GF", 5.0, -52.5), ("GG", 49.5, -2.5), ("GH", 6.0, -1.0), ("GI", 36.0, -5.5), ("GL", 64.0, -51.5),
    ("GM", 13.5, -16.5), ("GN", 10.0, -13.0), ("GP", 16.0, -61.5), ("GQ", 3.0, 9.5), ("GR", 38.5, 23.5), ("GS", -54.0, -36.5),
    ("GT", 14.5, -90.5), ("GU", 13.5, 145.0), ("GW", 12.0, -15.5), ("GY", 6.5, -58.0), ("HK", 22.5, 114.0), ("HM", -53.0, 73.5),
    ("HN", 15.0, -87.5), ("HR", 45.5, 16.0), ("HT", 18.5, -72.5), ("HU", 47.5, 19.5), ("ID", -6.5, 109.0), ("IE", 53.5, -7.0),
    ("IL", 32.0, 35.0), ("IM", 54.0, -4.5), ("IN", 22.0, 79.0), ("IO", -7.5, 72.5), ("IQ", 33.5, 44.5), ("IR", 34.5, 51.5),
    ("IS", 64.0, -22.0), ("IT", 43.0, 12.0), ("JE", 49.0, -2.0), ("JM", 18.0, -77.0), ("JO", 32.0, 36.0), ("JP", 35.5, 138.0),
    ("KE", -1.0, 37.0), ("KG", 42.5, 74.5), ("KH", 11.5, 105.0), ("KI", 1.5, 173.0), ("KM", -12.0, 43.5), ("KN", 17.5, -62.5),
    ("KP", 39.0, 126.0), ("KR", 37.0, 127.5), ("KW", 29.5, 48.0), ("KY", 19.5, -81.5), ("KZ", 47.0, 73.0), ("LA", 18.0, 102.5),
    ("LB", 34.0, 35.5), ("LC", 14.0, -61.0), ("LI", 47.0, 9.5), ("LK", 7.0, 80.0), ("LR", 6.5, -10.5), ("LS", -29.5, 28.0),
    ("LT", 55.0, 24.0), ("LU", 49.5, 6.0), ("LV", 57.0, 24.5), ("LY", 32.5, 15.0), ("MA", 33.5, -7.0), ("MC", 43.5, 7.5),
    ("MD", 47.0, 28.5), ("ME", 42.5, 19.0), ("MF", 18.0, -63.0), ("MG", -19.0, 47.5), ("MH", 7.0, 171.0), ("MK", 42.0, 21.5),
    ("ML", 13.0, -7.5), ("MM", 19.0, 96.0), ("MN", 48.0, 107.0), ("MO", 22.0, 113.5), ("MP", 15.0, 145.5), ("MQ", 14.5, -61.0),
    ("MR", 18.0, -15.5), ("MS", 16.5, -62.0), ("MT", 36.0, 14.5), ("MU", -20.0, 57.5), ("MV", 4.0, 73.5), ("MW", -14.0, 34.0),
    ("MX", 20.0, -100.0), ("MY", 3.5, 102.0), ("MZ", -20.0, 35.0), ("NA", -20.0, 17.0), ("NC", -22.0, 166.5), ("NE", 13.5, 4.0),
    ("NF", -29.0, 168.0), ("NG", 8.5, 6.0), ("NI", 12.5, -86.5), ("NL", 52.0, 5.0), ("NO", 60.0, 10.0), ("NP", 27.5, 85.0),
    ("NR", -0.5, 167.0), ("NU", -19.0, -170.0), ("NZ", -38.5, 175.0), ("OM", 23.5, 58.0), ("PA", 9.0, -79.5), ("PE", -11.0, -77.0),
    ("PF", -17.5, -149.5), ("PG", -7.0, 146.0), ("PH", 14.0, 121.5), ("PK", 31.0, 72.0), ("PL", 52.0, 19.5), ("PM", 47.0, -56.0),
    ("PN", -25.0, -130.0), ("PR", 18.5, -66.5), ("PS", 31.5, 35.0), ("PT", 39.5, -8.5), ("PW", 7.5, 134.5), ("PY", -25.5, -57.0),
    ("QA", 25.5, 51.5), ("RE", -21.0, 55.5), ("RO", 45.5, 25.5), ("RS", 44.5, 20.5), ("RU", 56.0, 45.0), ("RW", -2.0, 30.0),
    ("SA", 24.5, 44.5), ("SB", -9.5, 160.0), ("SC", -4.5, 55.5), ("SD", 15.0, 32.5), ("SE", 59.0, 16.0), ("SG", 1.5, 104.0),
    ("SH", -16.0, -5.5), ("SI", 46.0, 14.5), ("SJ", 78.0, 15.5), ("SK", 48.5, 19.0), ("SL", 8.5, -12.5), ("SM", 44.0, 12.5),
    ("SN", 14.5, -16.5), ("SO", 2.5, 45.0), ("SR", 6.0, -55.0), ("SS", 6.0, 31.0), ("ST", 0.5, 6.5), ("SV", 13.5, -89.0),
    ("SX", 18.0, -63.0), ("SY", 34.5, 37.0), ("SZ", -26.5, 31.5), ("TC", 22.0, -72.0), ("TD", 11.0, 16.0), ("TF", -49.5, 70.0),
    ("TG", 7.0, 1.0), ("TH", 14.5, 101.0), ("TJ", 38.5, 69.0), ("TK", -9.0, -172.0), ("TL", -8.5, 125.5), ("TM", 38.0, 59.0),
    ("TN", 36.5, 10.0), ("TO", -21.0, -175.0), ("TR", 39.5, 32.0), ("TT", 10.5, -61.5), ("TV", -8.5, 179.0), ("TW", 24.5, 121.0),
    ("TZ", -5.5, 36.0), ("UA", 49.5, 31.5), ("UG", 0.5, 32.5), ("UM", 19.0, 167.0), ("US", 38.0, -91.0), ("UY", -34.5, -56.0),
    ("UZ", 40.5, 68.0), ("VA", 42.0, 12.5), ("VC", 13.0, -61.0), ("VE", 10.0, -67.5), ("VG", 18.5, -64.5), ("VI", 18.0, -65.0),
    ("VN", 15.5, 107.0), ("VU", -17.5, 168.5), ("WF", -13.5, -176.0), ("WS", -14.0, -172.0), ("XK", 42.5, 21.0), ("YE", 15.0, 45.0),
    ("YT", -13.0, 45.0), ("ZA", -28.0, 28.0), ("ZM", -14.0, 28.5), ("ZW", -18.5, 30.5),
];

/// The middle of a country's people.
pub(super) fn centroid(country: Code) -> Option<Coordinates> {
    let at = CENTROIDS.binary_search_by(|(code, ..)| (*code).cmp(country.as_str())).ok()?;
    let (_, latitude, longitude) = CENTROIDS[at];
    Some(Coordinates { latitude, longitude })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::COUNTRIES;
    use crate::routing::ranking::distance_km;

    #[test]
    fn every_country_is_somewhere_and_near_its_neighbours() {
        let at = |code: &str| centroid(Code::parse(code).unwrap()).unwrap_or_else(|| panic!("{code} is nowhere"));
        for country in COUNTRIES.iter().flat_map(|(_, countries)| countries.split(' ')) {
            let Coordinates { latitude, longitude } = at(country);
            assert!((-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude), "{country}");
        }
        // A slip of a sign or a digit would tear these apart.
        for chain in [
            "PT ES FR BE NL DE CZ PL SK HU RO BG GR TR GE AZ TM UZ KG KZ",
            "IE GB NL DK SE NO FI EE LV LT BY UA MD",
            "CH LI AT SI HR BA RS ME AL MK XK IT SM VA MC",
            "MA DZ TN LY EG IL JO SY LB CY IQ KW BH QA AE OM",
            "MR SN GM GW GN SL LR CI GH TG BJ NG CM GQ GA ST",
            "CG CD AO",
            "ET DJ ER SD SS UG RW BI TZ KE SO",
            "ZM ZW MZ MW MG RE MU",
            "NA BW ZA LS SZ",
            "IR AF PK IN NP BT BD MM TH LA KH VN",
            "SG MY BN PH TW HK MO",
            "KP KR JP",
            "GT SV HN NI CR PA CO EC PE",
            "BO PY UY AR CL",
            "VE TT GD VC LC MQ DM GP MS AG KN BL MF SX AI VG VI PR DO HT JM KY CU BS TC",
            "GY SR GF",
            "FJ TV WF WS AS TO NU",
            "VU NC",
        ] {
            let countries: Vec<&str> = chain.split(' ').collect();
            for pair in countries.windows(2) {
                let km = distance_km(at(pair[0]), at(pair[1]));
                assert!(km < 1900.0, "{pair:?}: {km} km");
            }
        }
        assert_eq!(centroid(Code::parse("ZZ").unwrap()), None);
    }
}
