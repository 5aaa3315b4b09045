//! What is written of a service is read of it, wherever its octets lie.

use std::sync::Arc;

use super::{CompiledService, InstanceView, ServiceView};
use crate::model::{Geo, Instance, Label, Out, Service, Vitals};
use crate::routing::{Against, Origins, Places, Views};

fn compiled(name: &str, ids: &[&str]) -> CompiledService {
    let geo = Geo::default();
    let instance: Instance = serde_json::from_str(r#"{"addresses":["192.0.2.1"],"ports":{"http":80},"region":"eu","az":"1"}"#).unwrap();
    let places = Places::new(&geo, []).with(&instance.locality());
    let origins = Origins::build(&places, &geo);
    let (vitals, service) = (Vitals::default(), Service::plain());
    let labels: Vec<Label> = ids.iter().map(|id| Label::parse(id).unwrap()).collect();
    let view = |id| InstanceView { id, instance: &instance, vitals: &vitals, out: Out::SERVING, warmth: 100 };
    let view = ServiceView { service: &service, instances: labels.iter().map(view).collect(), out: Out::SERVING };
    let mut against = Against { places: &places, origins: &origins, views: &mut Views::default() };
    CompiledService::compile(&Label::parse(name).unwrap(), &view, &mut against, None).unwrap()
}

/// Whether a service's octets lie in it or not, they say the same; and a million of one instance take 128 octets each.
#[test]
fn services_of_few_and_of_many_octets_are_read_alike() {
    let long = "a-service-whose-name-is-as-long-as-a-label-can-be-63-octets-0123";
    for name in ["w", "checkout-service-eu", &long[..63]] {
        for ids in [&[][..], &["i"], &["web-6d4cf56db6-abcde"], &["a", "b", "c"]] {
            let service = compiled(name, ids);
            assert_eq!((service.label(), service.len()), (name, ids.len()));
            for (member, id) in (0..).zip(ids) {
                let target: Vec<u8> = [id, "id", name].iter().flat_map(|l| [&[l.len() as u8], l.as_bytes()].concat()).collect();
                let octets = (service.id(member), service.target(member), service.v4(member), service.v6(member));
                assert_eq!(octets, (*id, &target[..], &[192, 0, 2, 1][..], &[][..]));
                assert_eq!(service.member(id.as_bytes()), Some(member));
                assert_eq!(service.port_number(member, service.default_port().unwrap().0), 80);
            }
        }
    }
    // Beside it, an Arc's counts are 16 octets and malloc's header 8.
    assert_eq!(size_of::<CompiledService>() + 16 + 8, 128);
    let (one, other) = (compiled("one", &["a"]), compiled("other", &["b"]));
    assert!(one.pool().is_one_with(other.pool()) && Arc::ptr_eq(&one.common, &other.common));
}
