// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;
use crate::trace::{log, sample};

pub(super) const CONFIG: &str = r#"
title = "Stage 1: a maintenance phase between two readers"

[[span]]
kind = "reader"
begin = "hit cco"
end = ["end cco_quickly", "end cco_carefully"]

[[span]]
kind = "grace-period"
begin = "hit maint"
end = "grace period"
label = "first grace period"

[[span]]
kind = "work"
begin = "hit do_maint"
end = "end do_maint"
label = "do_maint"

[[span]]
kind = "grace-period"
begin = "end do_maint"
end = "grace period"
label = "second grace period"

[[mark]]
event = "start cco1"
[[mark]]
event = "start maint"
[[mark]]
event = "start cco2"
[[mark]]
event = "hit cco_quickly"
[[mark]]
event = "hit cco_carefully"
"#;

#[test]
fn shows() {
    let config: Config = toml::from_str(CONFIG).unwrap();
    let events = log::events(&log::parse(sample::LOG));
    let t = Timeline::new(&config, "phased_state", &events);
    for w in [60, 80, 100, 160] {
        println!("{}", text(&t, w));
    }
    println!("{}", t.describe());
    std::fs::write("/var/tmp/tl/a.svg", svg(&t)).unwrap();
    let cut = log::parse(&sample::LOG[..sample::LOG.find("[    4.003912").unwrap() + 400]);
    let t = Timeline::new(&config, "phased_state", &log::events(&cut));
    println!("{}", text(&t, 90));
    std::fs::write("/var/tmp/tl/b.svg", svg(&t)).unwrap();
}
