#![no_main]

libfuzzer_sys::fuzz_target!(init: cadre_fuzz::targets::contained(), |data: &[u8]| cadre_fuzz::targets::intake(data));
