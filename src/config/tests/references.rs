//! Branches that lead to other names.

use super::*;
use crate::model::{Branch, Goal, MAX_LEAVES, Policy};

/// What a policy leads to, in one line.
fn outline(policy: &Policy) -> String {
    let branch = |branch: &Branch| {
        let goal = match &branch.goal {
            Goal::Policy(below) => outline(below),
            Goal::Instances { service, az, tag, .. } => {
                let limits = [("az", az), ("tag", tag)].map(|(key, label)| label.as_ref().map(|l| format!(" {key}={l}")));
                format!("{}{}", service.as_ref().unwrap(), limits.into_iter().flatten().collect::<String>())
            }
            Goal::Records(sets) => sets.iter().map(|s| format!("{}={:?}", s.rtype, s.rdata)).collect::<Vec<_>>().join(" "),
        };
        let region = branch.region.as_ref().map(|r| format!("@{r}")).unwrap_or_default();
        let weight = if branch.weight == 100 { String::new() } else { format!("*{}", branch.weight) };
        format!("{goal}{region}{weight}")
    };
    format!("{}({})", policy.kind, policy.branches.iter().map(branch).collect::<Vec<_>>().join(", "))
}

const OTHER: &str = r#"ns = ["ns.elsewhere."]
[records]
www = { A = ["192.0.2.1"], AAAA = ["2001:db8::1"] }
alias = { CNAME = ["target"] }
"*.wild" = { A = ["192.0.2.2"] }
sub = { NS = ["ns.elsewhere."] }
[names.api]
policy = "failover"
min_healthy = 2
panic_threshold = 30
branches = [
  { service = "web", region = "eu-west" },
  { cname = "cdn" },
  { records = { MX = ["10 mail"] } },
  { records = { A = ["192.0.2.3"] }, resort = true },
]
[services.web]
"#;

fn world(text: &str) -> Result<(Loaded, Vec<String>), Vec<String>> {
    load(&[("zones/other.example.toml", OTHER), ("zones/svc.example.toml", &format!("{HEAD}{text}")), ("geo/regions.toml", GEO)])
}

#[test]
fn a_name_is_replaced_by_what_it_is() {
    let mut wrong = Vec::new();
    let mut check = |branch: &str, expected: &str| {
        let text = format!(
            "services = true\n[names.x]\npolicy = \"weighted\"\nall_down = \"all\"\nbranches = [{branch}]\n[names.inner]\n\
                         policy = \"sticky\"\nbranches = [{{ name = \"web\", weight = 3 }}]"
        );
        match world(&text) {
            Ok((loaded, _)) => {
                let found = outline(&loaded.zones[1].names[&name("x.svc.example.")]);
                if found != expected {
                    wrong.push(format!("{branch}\n  - {expected}\n  + {found}"));
                }
            }
            Err(findings) => wrong.push(format!("{branch}: {findings:?}")),
        }
    };
    check("{ name = \"web\" }", "weighted(web)");
    check("{ name = \"inner\", weight = 5 }", "weighted(sticky(web*3)*5)");
    check("{ name = \"WEB.svc.example.\", region = \"us-east\" }", "weighted(web@us-east)");
    check("{ name = \"us-east.region.web\", weight = 0 }", "weighted(web@us-east*0)");
    check("{ name = \"us-east.region.web\", region = \"us-east\" }", "weighted(web@us-east)");
    check("{ name = \"green.tag.1a.az.us-east.region.web\" }", "weighted(web az=1a tag=green@us-east)");
    check("{ name = \"1b.az.web\", region = \"eu-west\", tag = \"blue\" }", "weighted(web az=1b tag=blue@eu-west)");
    let www = "1=[[192, 0, 2, 1]] 28=[[32, 1, 13, 184, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]]";
    check("{ name = \"www.other.example.\" }", &format!("weighted({www})"));
    check("{ name = \"any.thing.wild.other.example.\" }", "weighted(1=[[192, 0, 2, 2]])");
    let wire = |text: &str| format!("{:?}", name(text).wire());
    check("{ name = \"alias.other.example.\" }", &format!("weighted(5=[{}])", wire("target.other.example.")));
    // Names in records are those of the zone in which they were written; the last resort stays there.
    let mail = [&[0, 10], name("mail.other.example.").wire()].concat();
    let api = format!("failover(web@eu-west, 5=[{}], 15=[{mail:?}])", wire("cdn.other.example."));
    check("{ name = \"api.other.example.\" }", &format!("weighted({api})"));
    check("{ service = \"web\" }, { name = \"api.other.example.\", weight = 7 }", &format!("weighted(web, {api}*7)"));
    check(
        "{ policy = \"failover\", branches = [{ name = \"api.other.example.\" }, { name = \"www.other.example.\" }] }",
        &format!("weighted(failover({api}, {www}))"),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let (loaded, warnings) =
        world("[names.x]\npolicy = \"latency\"\nbranches = [\n{ name = \"api.other.example.\", region = \"us-east\" }]").unwrap();
    let policy = &loaded.zones[1].names[&name("x.svc.example.")];
    let Goal::Policy(below) = &policy.branches[0].goal else { panic!("a policy below") };
    assert_eq!((below.min_healthy, below.panic_threshold, policy.branches[0].region.as_ref().unwrap().as_str()), (2, 0, "us-east"));
    let said = "zones/svc.example.toml:6: names.x.branches[0].name: api.other.example. has a last resort, which is not used here: \
                    give x.svc.example. one of its own, or `all_down`";
    assert!(warnings.contains(&said.to_string()), "{warnings:#?}");
}

#[test]
fn names_that_lead_nowhere_are_found_where_they_stand() {
    let mut wrong = Vec::new();
    let mut check = |branch: &str, expected: &str| {
        let text = format!("services = true\n[names.x]\npolicy = \"weighted\"\nbranches = [\n{branch}]\n");
        let said = world(&text).map(|(_, warnings)| warnings).unwrap_or_else(|findings| findings);
        let expected = format!("zones/svc.example.toml:7: names.x.branches[0].{expected}");
        if said != [expected.clone()] {
            wrong.push(format!("{branch}\n  - {expected}\n  + {said:#?}"));
        }
    };
    let way = |target: &str, reason: &str| format!("name: x.svc.example. → {target}: {reason}");
    check("{ name = \"www.elsewhere.\" }", &way("www.elsewhere.", "is in no zone of this server; use `cname` for names elsewhere"));
    check("{ name = \"a..b\" }", "name: \"a..b\" has a label that is empty or longer than 63 octets");
    check("{ name = \"wbe\" }", &way("wbe.svc.example.", "does not exist in zones/svc.example.toml; did you mean `web.svc.example.`?"));
    check(
        "{ name = \"something\" }",
        &way("something.svc.example.", "does not exist in zones/svc.example.toml; a service that will be registered is named by `service`"),
    );
    check("{ name = \"other.example.\" }", &way("other.example.", "is a zone's apex, which has nothing but SOA and NS records"));
    check("{ name = \"wild.other.example.\" }", &way("wild.other.example.", "has no records: it only has names below it"));
    check(
        "{ name = \"a.sub.other.example.\" }",
        &way(
            "a.sub.other.example.",
            "is at or below the delegation of sub.other.example., which other servers answer; use `cname` for names elsewhere",
        ),
    );
    check("{ name = \"_http._tcp.web\" }", &way("_http._tcp.web.svc.example.", "is a name of SRV records; lead to the service's own name"));
    check("{ name = \"_web._tcp\" }", &way("_web._tcp.svc.example.", "is a name of SRV records; lead to the service's own name"));
    check(
        "{ name = \"one.id.web\" }",
        &way("one.id.web.svc.example.", "is one instance; lead to its service, web, and narrow it by `tag`, `region` or `az`"),
    );
    check("{ name = \"region.web\" }", &way("region.web.svc.example.", "is no name of the service web: a value stands before `region`"));
    check(
        "{ name = \"eu.place.web\" }",
        &way("eu.place.web.svc.example.", "is no name of the service web: `region`, `az` and `tag` stand before it, not `place`"),
    );
    check("{ name = \"a.tag.b.tag.web\" }", &way("a.tag.b.tag.web.svc.example.", "is limited to tag b and tag a; a branch has one tag"));
    check(
        "{ name = \"us-east.region.web\", region = \"eu-west\" }",
        &way("us-east.region.web.svc.example.", "the branch is limited to region eu-west and the name to region us-east; say one of them"),
    );
    check(
        "{ name = \"1b.az.us-east.region.web\" }",
        &way("1b.az.us-east.region.web.svc.example.", "region us-east has no az 1b in regions.toml; did you mean `1a`?"),
    );
    let region = "has a policy; regions are named at its own leaves, and `weighted` ranks nothing by them";
    check("{ name = \"api.other.example.\", region = \"eu-west\" }", &way("api.other.example.", region));
    check(
        "{ name = \"api.other.example.\", tag = \"x\" }",
        &way("api.other.example.", "has a policy; `az` and `tag` limit instances at its own leaves"),
    );
    check(
        "{ name = \"www.other.example.\", az = \"1a\" }",
        &way("www.other.example.", "has static records, which have no `az` and no `tag`"),
    );
    check(
        "{ name = \"web\", service = \"web\" }",
        "service: a branch leads to exactly one of `service`, `name`, `cname`, `policy` and `records`",
    );
    check("{ cname = \"x\" }", "cname: x.svc.example. would be an alias of itself");
    check(
        "{ cname = \"y\", records = { A = [\"192.0.2.1\"] } }",
        "service: a branch leads to exactly one of `service`, `name`, `cname`, `policy` and `records`",
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    refused(
        "[services.web]\npolicy = \"failover\"\nbranches = [{ name = \"x\" }]",
        &["5: services.web.branches[0].name: only names under [names] lead to other names"],
    );
}

#[test]
fn circles_depth_breadth_and_aliases_show_the_whole_way() {
    refused(
        "[names.a]\npolicy = \"failover\"\nbranches = [\n{ name = \"b\" }]\n[names.b]\npolicy = \"failover\"\nbranches = [{ name = \"c\" }]\n\
             [names.c]\npolicy = \"failover\"\nbranches = [{ policy = \"simple\", branches = [\n{ name = \"b\" }] }]\n\
             [names.self]\npolicy = \"failover\"\nbranches = [\n{ name = \"self\" }]\n",
        &[
            "13: names.c.branches[0].branches[0].name: b.svc.example. → c.svc.example. → b.svc.example.: the names lead in a circle",
            "17: names.self.branches[0].name: self.svc.example. → self.svc.example.: the names lead in a circle",
        ],
    );
    let mut text = "[names.n9]\npolicy = \"failover\"\nbranches = [{ cname = \"elsewhere.\" }]\n".to_string();
    for n in (1..9).rev() {
        text += &format!("[names.n{n}]\npolicy = \"failover\"\nbranches = [{{ name = \"n{}\" }}]\n", n + 1);
    }
    let way = (1..=9).map(|n| format!("n{n}.svc.example.")).collect::<Vec<_>>().join(" → ");
    refused(&text, &[&format!("29: names.n1.branches[0].name: {way}: policies nest at most 8 deep, and these 9")]);

    let service = |n: usize| vec!["{ service = \"web\" }"; n].join(", ");
    let text = format!(
        "[services.web]\n[names.a]\npolicy = \"weighted\"\nbranches = [{}]\n[names.b]\npolicy = \"weighted\"\nbranches = [\n{}]\n",
        service(64),
        "{ name = \"a\" },\n".repeat(17)
    );
    assert_eq!(MAX_LEAVES, 1024);
    refused(
        &text,
        &["26: names.b.branches[16].name: b.svc.example. → a.svc.example.: at most 1024 branches in all, those of the names it leads to \
               included; up to here there are 1088"],
    );
    refused(
        &format!("[services.web]\n[names.a]\npolicy = \"weighted\"\nbranches = [{}]\n", service(65)),
        &["6: names.a.branches: at most 64 branches, not 65"],
    );
    let many: Vec<String> = (0..65).map(|n| format!("\"192.0.2.{n}\"")).collect();
    refused(
        &format!("[names.a]\npolicy = \"weighted\"\nbranches = [\n{{ records = {{ A = [{}] }} }}]\n", many.join(", ")),
        &["6: names.a.branches[0].records.A: at most 64 records of one type in a branch, not 65"],
    );

    let apex = "the apex has SOA and NS records, so no branch of it can end in a CNAME (RFC 1034 §3.6.2)";
    let said = world(
        "[names.\"@\"]\npolicy = \"failover\"\nbranches = [\n{ service = \"web\" },\n{ policy = \"simple\", branches = [\n{ name = \"b\" }] }]\n\
             [names.b]\npolicy = \"failover\"\nbranches = [{ name = \"api.other.example.\" }]",
    );
    assert_eq!(
        said.map(|_| ()).unwrap_err(),
        [format!(
            "zones/svc.example.toml:8: names.@.branches[1].branches[0].name: svc.example. → b.svc.example. → api.other.example.: {apex}"
        )]
    );
    refused(
        "[names.\"@\"]\npolicy = \"failover\"\nbranches = [\n{ cname = \"x\" }]\n",
        &[&format!("6: names.@.branches[0].cname: {apex}")],
    );
    refused(
        "[names.\"@\"]\npolicy = \"failover\"\nbranches = [\n{ service = \"web\" }]\n[services.web]\npolicy = \"failover\"\n\
             branches = [{ region = \"eu-west\" }, { cname = \"elsewhere.\" }]\n",
        &[&format!("6: names.@.branches[0].service: {apex}")],
    );
}
