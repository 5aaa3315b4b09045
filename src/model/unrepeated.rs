//! Maps as they are written, in which no key stands twice.
//!
//! serde's own maps take the last value of a repeated key and say nothing: somebody's port would be lost. JSON texts may repeat keys, and
//! keys that differ in case only are the same where they are labels.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Reads a map, or none. A repeated key is refused where its value stands, so that the error has the key's path.
pub(crate) fn unrepeated<'de, M: Map<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<M, D::Error> {
    M::read(deserializer)
}

/// What is read so.
pub(crate) trait Map<'de>: Sized {
    /// See [`unrepeated`].
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

impl<'de, K: Deserialize<'de> + Ord + Display, V: Deserialize<'de>> Map<'de> for BTreeMap<K, V> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Unrepeated::deserialize(deserializer).map(|Unrepeated(map)| map)
    }
}

impl<'de, K: Deserialize<'de> + Ord + Display, V: Deserialize<'de>> Map<'de> for Option<BTreeMap<K, V>> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = Option::deserialize(deserializer)?;
        Ok(read.map(|Unrepeated(map)| map))
    }
}

struct Unrepeated<K, V>(BTreeMap<K, V>);

impl<'de, K: Deserialize<'de> + Ord + Display, V: Deserialize<'de>> Deserialize<'de> for Unrepeated<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries(PhantomData)).map(Unrepeated)
    }
}

struct Entries<K, V>(PhantomData<(K, V)>);

impl<'de, K: Deserialize<'de> + Ord + Display, V: Deserialize<'de>> Visitor<'de> for Entries<K, V> {
    type Value = BTreeMap<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some(key) = entries.next_key::<K>()? {
            if map.contains_key(&key) {
                entries.next_value_seed(Repeated(&key))?;
            }
            let value = entries.next_value()?;
            map.insert(key, value);
        }
        Ok(map)
    }
}

/// Refuses the value of a key.
struct Repeated<'k, K>(&'k K);

impl<'de, K: Display> DeserializeSeed<'de> for Repeated<'_, K> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, _: D) -> Result<(), D::Error> {
        Err(D::Error::custom(format_args!("{} stands twice", self.0)))
    }
}
