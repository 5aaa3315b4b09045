//! What people ask of keys: lists, rolls, word of the parent, keys of another server.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::shelf::ShelfError;
use super::steps::Change;
use super::{Inner, Keys, SignedZone, State, by_tag, documents, timing};
use crate::api::{ImportedKey, KeyDesk, KeyList, KeyRefusal, UnsignStep, ZoneKeysDocument};
use crate::model::{FieldError, KeyRole, KeyStage, Name, Timestamp};
use crate::serve::blocking;
use crate::sign::{PrivateKey, RollRefusal, ZoneKeys, formats};

impl KeyDesk for Keys {
    fn list(&self) -> KeyList {
        let (state, now) = (self.0.state(), (self.0.clock)());
        KeyList { zones: state.zones.iter().map(|(apex, zone)| state.document(apex, zone, now)).collect() }
    }

    fn zone(&self, apex: &Name) -> Result<ZoneKeysDocument, KeyRefusal> {
        self.0.document(apex)
    }

    fn roll(&self, apex: Name, role: KeyRole) -> BoxFuture<'_, Result<ZoneKeysDocument, KeyRefusal>> {
        let now = (self.0.clock)();
        Box::pin(self.0.change(apex, move |change| change.introduce(role, now)))
    }

    fn ds_seen(&self, apex: Name, tag: u16) -> BoxFuture<'_, Result<ZoneKeysDocument, KeyRefusal>> {
        Box::pin(self.0.change(apex, move |change| Ok(change.zone.keys.ds_seen(tag)?)))
    }

    fn unsign(&self, apex: Name, step: UnsignStep) -> BoxFuture<'_, Result<ZoneKeysDocument, KeyRefusal>> {
        let now = (self.0.clock)();
        Box::pin(self.0.change(apex, move |change| {
            match step {
                UnsignStep::Ask if change.zone.keys.is_leaving() => {}
                UnsignStep::Ask => change.zone.keys.leave(true),
                UnsignStep::Stay => change.zone.keys.leave(false),
                UnsignStep::Gone => change.zone.keys.ds_gone(now)?,
            }
            Ok(())
        }))
    }

    fn import(&self, apex: Name, keys: Vec<ImportedKey>) -> BoxFuture<'_, Result<ZoneKeysDocument, KeyRefusal>> {
        Box::pin(self.0.import(apex, keys))
    }
}

impl Inner {
    /// Changes the keys of a zone that is signed.
    pub(super) async fn change(
        self: &Arc<Inner>,
        apex: Name,
        how: impl FnOnce(&mut Change) -> Result<(), KeyRefusal>,
    ) -> Result<ZoneKeysDocument, KeyRefusal> {
        let turn = self.turn.clone().lock_owned().await;
        let mut change = {
            let state = self.state();
            let zone = state.zones.get(&apex).ok_or_else(|| state.unsigned(&apex))?.clone();
            Change { apex: apex.clone(), zone, fresh: Vec::new(), gone: Vec::new() }
        };
        how(&mut change)?;
        self.apply(vec![change]).await?;
        drop(turn);
        self.changed.notify_one();
        self.document(&apex)
    }

    async fn import(self: &Arc<Inner>, apex: Name, imported: Vec<ImportedKey>) -> Result<ZoneKeysDocument, KeyRefusal> {
        let fresh = read_keys(&apex, &imported)?;
        let lent: Vec<(KeyRole, &PrivateKey)> = fresh.iter().map(|(role, key)| (*role, &**key)).collect();
        let turn = self.turn.clone().lock_owned().await;
        let (settings, before) = {
            let state = self.state();
            if !state.served.contains(&apex) {
                return Err(KeyRefusal::UnknownZone(apex));
            }
            (state.settings.clone(), state.zones.get(&apex).cloned())
        };
        let (in_file, longest) = before.as_ref().map_or((0, 0), |zone| (zone.in_file, zone.longest));
        let keys = ZoneKeys::begin(&lent, true, &timing(&settings, longest), (self.clock)())?;
        let zone = SignedZone { keys, private: by_tag(fresh.clone()), in_file, longest, rests: false };
        if let Some(before) = before {
            // As long as nobody was asked for a DS of the keys that the zone has, nobody validates with them.
            if before.keys.keys().iter().any(|key| key.role.is_entry() && key.stage != KeyStage::Published) {
                return Err(RollRefusal::InUse.into());
            }
            let old = before.keys.keys().iter().filter(|key| !zone.private.contains_key(&key.tag));
            let gone = old.map(|key| (key.algorithm, key.tag)).collect();
            self.apply(vec![Change { apex: apex.clone(), zone, fresh, gone }]).await?;
            drop(turn);
            self.changed.notify_one();
            return self.document(&apex);
        }
        let document = documents::zone(&apex, &zone, &settings, None, (self.clock)());
        let inner = self.clone();
        let kept = blocking(move || match inner.shelf.load(&apex)? {
            None => inner.shelf.create(&apex, &zone.keys, &fresh).map(|()| true),
            Some((before, _)) if before.keys().iter().any(|key| key.since.is_some()) => Ok(false),
            Some(_) => {
                fresh.iter().try_for_each(|(role, key)| inner.shelf.add(&apex, *role, key))?;
                inner.shelf.write(&apex, &zone.keys).map(|()| true)
            }
        });
        let kept = kept.await.map_err(|error| KeyRefusal::Storage(error.to_string()))?;
        match kept.map_err(|error: ShelfError| KeyRefusal::Storage(error.to_string()))? {
            true => Ok(document),
            false => Err(RollRefusal::InUse.into()),
        }
    }

    fn document(&self, apex: &Name) -> Result<ZoneKeysDocument, KeyRefusal> {
        let state = self.state();
        let zone = state.zones.get(apex).ok_or_else(|| state.unsigned(apex))?;
        Ok(state.document(apex, zone, (self.clock)()))
    }
}

impl State {
    fn document(&self, apex: &Name, zone: &SignedZone, now: Timestamp) -> ZoneKeysDocument {
        documents::zone(apex, zone, &self.settings, Some(self.looks.get(apex)), now)
    }

    fn unsigned(&self, apex: &Name) -> KeyRefusal {
        match self.served.contains(apex) {
            true => KeyRefusal::NotSigned(apex.clone()),
            false => KeyRefusal::UnknownZone(apex.clone()),
        }
    }
}

/// Reads keys of another server, with what each signs.
fn read_keys(apex: &Name, imported: &[ImportedKey]) -> Result<Vec<(KeyRole, Arc<PrivateKey>)>, KeyRefusal> {
    let mut read = Vec::with_capacity(imported.len());
    for (n, key) in imported.iter().enumerate() {
        let at = |field: &str, error: formats::KeyTextError| FieldError::new(format!("keys[{n}].{field}"), error.to_string());
        let private = formats::private_key(&key.private).map_err(|error| at("private", error))?;
        let public = key.public.as_deref().map(formats::public_key).transpose().map_err(|error| at("public", error))?;
        if let Some(public) = &public {
            public.matches(apex, &private).map_err(|error| at("public", error))?;
        }
        let alone = imported.len() == 1;
        let said = key.role.or_else(|| match public {
            Some(public) if !public.is_entry() => Some(KeyRole::Zsk),
            Some(_) => Some(if alone { KeyRole::Csk } else { KeyRole::Ksk }),
            None => alone.then_some(KeyRole::Csk),
        });
        let role = said.ok_or_else(|| FieldError::new(format!("keys[{n}].role"), "ksk or zsk is expected where there is no `public`"))?;
        read.push((role, Arc::new(private)));
    }
    Ok(read)
}
