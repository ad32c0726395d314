// SPDX-License-Identifier: MPL-2.0

//! Tests of address spaces: what programs rely on, seen from inside.

use ostd::{
    mm::{HasPaddr, PageFlags},
    prelude::*,
};

use super::{
    layout::{MMAP_BASE, STACK_GUARD_GAP, STACK_TOP},
    mapping::{Mapping, OWN_PAGE},
    mappings::Mappings,
    *,
};
use crate::prelude::*;

const RW: Protection = Protection::READ.union(Protection::WRITE);

fn mapping(first: usize, pages: usize, protection: Protection) -> Mapping {
    let start = first * PAGE_SIZE;
    Mapping::new(start..start + pages * PAGE_SIZE, protection, Backing::Anonymous)
}

fn ranges(mappings: &Mappings) -> Vec<(usize, usize)> {
    mappings.iter().map(|m| (m.start / PAGE_SIZE, m.end / PAGE_SIZE)).collect()
}

fn request(len: usize, backing: Backing, traits: Traits) -> MapRequest {
    MapRequest {
        placement: Placement::Hint(0),
        len,
        protection: RW,
        max_protection: Protection::all(),
        traits,
        backing,
        populate: false,
    }
}

fn map_private(space: &AddressSpace, pages: usize) -> Vaddr {
    space.map(request(pages * PAGE_SIZE, Backing::Anonymous, Traits::empty())).unwrap()
}

fn map_file(space: &AddressSpace, cache: &Arc<PageCache>, shared: bool) -> Vaddr {
    let len = cache.size() as usize;
    let traits = if shared { Traits::SHARED } else { Traits::empty() };
    let cache = MappedCache::new(cache.clone(), shared);
    space.map(request(len, Backing::Pages { cache, first: 0, path: None }, traits)).unwrap()
}

fn read_byte(space: &AddressSpace, address: Vaddr) -> u8 {
    let mut byte = [0];
    assert_eq!(space.read_remote_part(address, &mut byte), 1);
    byte[0]
}

fn file_byte(cache: &PageCache, offset: u64) -> u8 {
    let mut byte = [0];
    assert_eq!(cache.read(offset, &mut crate::file::IoDst::from_slice(&mut byte)), Ok(1));
    byte[0]
}

fn write_file(cache: &PageCache, offset: u64, bytes: &[u8]) {
    let written = cache.write(offset, &mut crate::file::IoSrc::from_slice(bytes));
    assert_eq!(written, Ok(bytes.len()));
}

fn flags_at(space: &AddressSpace, page: Vaddr) -> Option<PageFlags> {
    let mut flags = None;
    space.visit_pages(&(page..page + PAGE_SIZE), |found| flags = Some(found.flags));
    flags
}

#[ktest]
fn neighbours_of_one_kind_are_one_mapping() {
    let mut mappings = Mappings::new();
    mappings.insert(mapping(10, 2, RW));
    mappings.insert(mapping(14, 2, RW));
    mappings.insert(mapping(12, 2, RW));
    assert_eq!(ranges(&mappings), [(10, 16)]);
    mappings.insert(mapping(16, 1, Protection::READ));
    assert_eq!(ranges(&mappings), [(10, 16), (16, 17)]);
    assert_eq!(mappings.total_pages(), 7);
}

#[ktest]
fn taking_out_the_middle_splits() {
    let mut mappings = Mappings::new();
    mappings.insert(mapping(10, 10, RW));
    let taken = mappings.take(12 * PAGE_SIZE..15 * PAGE_SIZE);
    assert_eq!(taken.len(), 1);
    assert_eq!(ranges(&mappings), [(10, 12), (15, 20)]);
    assert_eq!(mappings.total_pages(), 7);
    assert!(mappings.find(12 * PAGE_SIZE).is_none());
    assert!(mappings.find(15 * PAGE_SIZE).is_some());
    mappings.insert(mapping(12, 3, RW));
    assert_eq!(ranges(&mappings), [(10, 20)]);
}

#[ktest]
fn a_changed_middle_splits_and_merges_back() {
    let mut mappings = Mappings::new();
    mappings.insert(mapping(10, 10, RW));
    let middle = 12 * PAGE_SIZE..15 * PAGE_SIZE;
    mappings.update(middle.clone(), |m| m.protection = Protection::READ);
    assert_eq!(ranges(&mappings), [(10, 12), (12, 15), (15, 20)]);
    mappings.update(middle, |m| m.protection = RW);
    assert_eq!(ranges(&mappings), [(10, 20)]);
}

#[ktest]
fn room_is_found_from_the_top_and_again_after_removal() {
    let mut mappings = Mappings::new();
    let add = |mappings: &mut Mappings, pages: usize, protection| {
        let start = mappings.find_room(pages * PAGE_SIZE).unwrap();
        let range = start..start + pages * PAGE_SIZE;
        mappings.insert(Mapping::new(range, protection, Backing::Anonymous));
        start
    };
    let first = add(&mut mappings, 4, RW);
    assert_eq!(first, MMAP_BASE - 4 * PAGE_SIZE);
    let second = add(&mut mappings, 2, Protection::READ);
    let third = add(&mut mappings, 2, RW);
    assert_eq!((second, third), (first - 2 * PAGE_SIZE, first - 4 * PAGE_SIZE));
    mappings.take(second..first);
    assert_eq!(mappings.find_room(3 * PAGE_SIZE), Some(third - 3 * PAGE_SIZE));
    assert_eq!(mappings.find_room(2 * PAGE_SIZE), Some(second));
    mappings.take(third..second);
    assert_eq!(mappings.find_room(4 * PAGE_SIZE), Some(third));
}

#[ktest]
fn covering_sees_gaps() {
    let mut mappings = Mappings::new();
    mappings.insert(mapping(10, 2, RW));
    mappings.insert(mapping(12, 2, Protection::READ));
    mappings.insert(mapping(15, 2, RW));
    assert!(mappings.covers(10 * PAGE_SIZE..14 * PAGE_SIZE));
    assert!(mappings.covers(11 * PAGE_SIZE..13 * PAGE_SIZE));
    assert!(!mappings.covers(13 * PAGE_SIZE..16 * PAGE_SIZE));
    assert!(!mappings.covers(9 * PAGE_SIZE..11 * PAGE_SIZE));
    assert_eq!(mappings.pages_in(11 * PAGE_SIZE..16 * PAGE_SIZE), 4);
}

#[ktest]
fn untouched_memory_reads_as_zeros_and_takes_no_frame() {
    let space = AddressSpace::new();
    let address = map_private(&space, 2);
    assert_eq!(read_byte(&space, address), 0);
    assert_eq!(read_byte(&space, address + PAGE_SIZE), 0);
    let frames = [address, address + PAGE_SIZE].map(|page| space.frame_at(page).unwrap().paddr());
    assert_eq!(frames[0], frames[1]);
    space.write_remote(address, &[7]).unwrap();
    assert_ne!(space.frame_at(address).unwrap().paddr(), frames[1]);
    assert_eq!(read_byte(&space, address), 7);
    assert_eq!(read_byte(&space, address + PAGE_SIZE), 0);
}

#[ktest]
fn rights_are_checked() {
    let space = AddressSpace::new();
    let address = map_private(&space, 1);
    space.protect(address..address + PAGE_SIZE, Protection::READ, false).unwrap();
    assert_eq!(space.handle_fault(address, Access::Read), Ok(()));
    assert_eq!(space.handle_fault(address, Access::Write), Err(Fault::NotPermitted));
    assert_eq!(space.handle_fault(address, Access::Execute), Err(Fault::NotPermitted));
    assert_eq!(space.handle_fault(address + PAGE_SIZE, Access::Read), Err(Fault::NotMapped));
    space.protect(address..address + PAGE_SIZE, Protection::empty(), false).unwrap();
    assert_eq!(space.handle_fault(address, Access::Read), Err(Fault::NotPermitted));
}

#[ktest]
fn content_survives_a_time_without_rights() {
    let space = AddressSpace::new();
    let address = map_private(&space, 1);
    let range = address..address + PAGE_SIZE;
    space.write_remote(address, &[9]).unwrap();
    space.protect(range.clone(), Protection::empty(), false).unwrap();
    assert!(!flags_at(&space, address).unwrap().contains(PageFlags::R));
    space.protect(range, RW, false).unwrap();
    assert_eq!(space.handle_fault(address, Access::Write), Ok(()));
    assert!(flags_at(&space, address).unwrap().contains(PageFlags::RW));
    assert_eq!(read_byte(&space, address), 9);
}

#[ktest]
fn a_forked_page_is_copied_by_the_first_writer_only() {
    let parent = AddressSpace::new();
    let address = map_private(&parent, 1);
    parent.write_remote(address, &[1]).unwrap();
    let frame = parent.frame_at(address).unwrap().paddr();
    let child = parent.fork().unwrap();
    assert!(!flags_at(&parent, address).unwrap().contains(PageFlags::W));
    assert_eq!(child.frame_at(address).unwrap().paddr(), frame);
    parent.write_remote(address, &[2]).unwrap();
    assert_ne!(parent.frame_at(address).unwrap().paddr(), frame);
    assert_eq!(read_byte(&child, address), 1);
    child.write_remote(address, &[3]).unwrap();
    assert_eq!(read_byte(&parent, address), 2);
    assert_eq!(read_byte(&child, address), 3);
}

#[ktest]
fn a_page_left_by_the_child_is_used_again() {
    let parent = AddressSpace::new();
    let address = map_private(&parent, 1);
    parent.write_remote(address, &[1]).unwrap();
    let frame = parent.frame_at(address).unwrap().paddr();
    drop(parent.fork().unwrap());
    assert_eq!(parent.handle_fault(address, Access::Write), Ok(()));
    assert_eq!(parent.frame_at(address).unwrap().paddr(), frame);
    assert!(flags_at(&parent, address).unwrap().contains(PageFlags::W | OWN_PAGE));
}

#[ktest]
fn shared_memory_is_shared_over_fork() {
    let parent = AddressSpace::new();
    let cache = PageCache::new(2 * PAGE_SIZE as u64);
    let address = map_file(&parent, &cache, true);
    let child = parent.fork().unwrap();
    child.write_remote(address + PAGE_SIZE, &[5]).unwrap();
    assert_eq!(read_byte(&parent, address + PAGE_SIZE), 5);
    assert_eq!(parent.futex_key(address, false), child.futex_key(address, false));
    assert_ne!(parent.futex_key(address, true), child.futex_key(address, true));
    assert_eq!(cache.writable_mappings(), 2);
    drop(child);
    assert_eq!(cache.writable_mappings(), 1);
}

#[ktest]
fn advice_decides_what_a_child_gets() {
    let parent = AddressSpace::new();
    let (lost, wiped) = (map_private(&parent, 1), map_private(&parent, 1));
    parent.write_remote(lost, &[1]).unwrap();
    parent.write_remote(wiped, &[2]).unwrap();
    let advise = |page: Vaddr, set| {
        let advice = Advice::Traits { set, clear: Traits::empty() };
        parent.advise(page..page + PAGE_SIZE, advice).unwrap();
    };
    advise(lost, Traits::DONT_FORK);
    advise(wiped, Traits::WIPE_ON_FORK);
    let child = parent.fork().unwrap();
    assert_eq!(child.handle_fault(lost, Access::Read), Err(Fault::NotMapped));
    assert_eq!(read_byte(&child, wiped), 0);
    assert_eq!(read_byte(&parent, wiped), 2);
}

#[ktest]
fn a_private_mapping_leaves_the_file_alone() {
    let space = AddressSpace::new();
    let cache = PageCache::new(0);
    write_file(&cache, 0, b"abc");
    let private = map_file(&space, &cache, false);
    let shared = map_file(&space, &cache, true);
    assert_eq!(read_byte(&space, private), b'a');
    space.write_remote(private, b"x").unwrap();
    assert_eq!(file_byte(&cache, 0), b'a');
    space.write_remote(shared + 1, b"y").unwrap();
    assert_eq!(file_byte(&cache, 1), b'y');
    assert_eq!(read_byte(&space, private + 1), b'b');
}

#[ktest]
fn neighbours_in_memory_are_mapped_by_one_fault() {
    let space = AddressSpace::new();
    let cache = PageCache::new(0);
    write_file(&cache, 0, &alloc::vec![1; 20 * PAGE_SIZE]);
    let address = map_file(&space, &cache, false);
    assert_eq!(space.handle_fault(address + 3 * PAGE_SIZE, Access::Read), Ok(()));
    assert_eq!(space.usage().resident, 16);
    assert!(!flags_at(&space, address).unwrap().contains(PageFlags::W));
    assert!(flags_at(&space, address + 16 * PAGE_SIZE).is_none());
}

#[ktest]
fn a_truncated_file_takes_its_pages_back() {
    let space = AddressSpace::new();
    let cache = PageCache::new(0);
    write_file(&cache, 0, &alloc::vec![1; 3 * PAGE_SIZE]);
    let (shared, private) = (map_file(&space, &cache, true), map_file(&space, &cache, false));
    assert_eq!(read_byte(&space, shared + 2 * PAGE_SIZE), 1);
    space.write_remote(private + 2 * PAGE_SIZE, &[2]).unwrap();
    cache.set_size(PAGE_SIZE as u64 + 1).unwrap();
    for address in [shared, private] {
        assert_eq!(space.handle_fault(address + 2 * PAGE_SIZE, Access::Read), Err(Fault::Bus));
        assert_eq!(read_byte(&space, address + PAGE_SIZE), 1);
        assert_eq!(read_byte(&space, address + PAGE_SIZE + 1), 0);
    }
    cache.set_size(3 * PAGE_SIZE as u64).unwrap();
    assert_eq!(read_byte(&space, shared + 2 * PAGE_SIZE), 0);
}

#[ktest]
fn a_hole_reads_as_zeros_and_keeps_private_copies() {
    let space = AddressSpace::new();
    let cache = PageCache::new(0);
    write_file(&cache, 0, &alloc::vec![1; 4 * PAGE_SIZE]);
    let private = map_file(&space, &cache, false);
    space.write_remote(private + PAGE_SIZE, &[2]).unwrap();
    assert_eq!(read_byte(&space, private + 2 * PAGE_SIZE), 1);
    cache.punch_hole(PAGE_SIZE as u64 - 1..3 * PAGE_SIZE as u64 + 1).unwrap();
    assert_eq!(cache.resident_pages(), 2);
    assert_eq!(file_byte(&cache, PAGE_SIZE as u64 - 2), 1);
    assert_eq!(file_byte(&cache, PAGE_SIZE as u64 - 1), 0);
    assert_eq!(file_byte(&cache, 3 * PAGE_SIZE as u64), 0);
    assert_eq!(file_byte(&cache, 3 * PAGE_SIZE as u64 + 1), 1);
    // Reading through a mapping makes pages, so this comes first.
    assert_eq!(cache.next_hole(0), PAGE_SIZE as u64);
    assert_eq!(cache.next_data(PAGE_SIZE as u64), Some(3 * PAGE_SIZE as u64));
    assert_eq!(cache.next_data(4 * PAGE_SIZE as u64), None);
    assert_eq!(read_byte(&space, private + PAGE_SIZE), 2);
    assert_eq!(read_byte(&space, private + 2 * PAGE_SIZE), 0);
}

#[ktest]
fn a_source_is_asked_once_and_not_beyond_the_first_end() {
    struct Ones;
    impl PageSource for Ones {
        fn fill(&self, _index: usize, frame: &ostd::mm::UFrame) -> crate::error::Result<()> {
            frame.write_bytes(0, &[1; PAGE_SIZE])?;
            Ok(())
        }
    }
    let cache = PageCache::with_source(PAGE_SIZE as u64 + 10, Box::new(Ones));
    assert_eq!(file_byte(&cache, PAGE_SIZE as u64 + 9), 1);
    write_file(&cache, 0, &[2]);
    assert_eq!(file_byte(&cache, 0), 2);
    cache.set_size(3 * PAGE_SIZE as u64).unwrap();
    assert_eq!(file_byte(&cache, PAGE_SIZE as u64 + 10), 0);
    assert_eq!(file_byte(&cache, 2 * PAGE_SIZE as u64), 0);
    cache.set_size(1).unwrap();
    cache.set_size(PAGE_SIZE as u64).unwrap();
    assert_eq!((file_byte(&cache, 0), file_byte(&cache, 1)), (2, 0));
}

#[ktest]
fn a_moved_mapping_keeps_its_content() {
    let space = AddressSpace::new();
    let old = map_private(&space, 2);
    let obstacle = map_private(&space, 1);
    space.protect(obstacle..obstacle + PAGE_SIZE, Protection::READ, false).unwrap();
    space.write_remote(old + PAGE_SIZE, &[4]).unwrap();
    let mut request = RemapRequest {
        old,
        old_len: 2 * PAGE_SIZE,
        new_len: 4 * PAGE_SIZE,
        may_move: false,
        fixed: None,
        keep_old: false,
    };
    let above = old + 2 * PAGE_SIZE;
    assert_eq!(above, MMAP_BASE);
    assert_eq!(space.remap(request), Ok(old));
    assert_eq!(read_byte(&space, old + 3 * PAGE_SIZE), 0);
    request = RemapRequest { old_len: 4 * PAGE_SIZE, may_move: true, fixed: Some(1 << 30), ..request };
    assert_eq!(space.remap(request), Ok(1 << 30));
    assert_eq!(read_byte(&space, (1 << 30) + PAGE_SIZE), 4);
    assert_eq!(space.handle_fault(old, Access::Read), Err(Fault::NotMapped));
    assert_eq!(space.remap(request), Err(EFAULT));
    request.old = 1 << 30;
    assert_eq!(space.remap(request), Err(EINVAL));
}

#[ktest]
fn a_grown_mapping_moves_when_it_has_to() {
    let space = AddressSpace::new();
    let upper = map_private(&space, 1);
    space.protect(upper..upper + PAGE_SIZE, Protection::READ, false).unwrap();
    let old = map_private(&space, 1);
    space.write_remote(old, &[6]).unwrap();
    let mut request =
        RemapRequest { old, old_len: PAGE_SIZE, new_len: 2 * PAGE_SIZE, may_move: false, fixed: None, keep_old: false };
    assert_eq!(space.remap(request), Err(ENOMEM));
    request.may_move = true;
    let new = space.remap(request).unwrap();
    assert_ne!(new, old);
    assert_eq!(read_byte(&space, new), 6);
    request = RemapRequest { old: new, old_len: 2 * PAGE_SIZE, new_len: PAGE_SIZE, ..request };
    assert_eq!(space.remap(request), Ok(new));
    assert_eq!(space.handle_fault(new + PAGE_SIZE, Access::Read), Err(Fault::NotMapped));
}

#[ktest]
fn a_stack_grows_until_it_would_touch_something() {
    let space = AddressSpace::new();
    let top = space.map_stack(8 << 20, false).unwrap();
    assert_eq!(top, STACK_TOP);
    let below = top - (2 << 20);
    assert_eq!(space.handle_fault(below, Access::Write), Ok(()));
    let wall = below - (2 << 20);
    let request = MapRequest {
        placement: Placement::FixedNoReplace(wall),
        ..request(PAGE_SIZE, Backing::Anonymous, Traits::empty())
    };
    assert_eq!(space.map(request), Ok(wall));
    let lowest = wall + PAGE_SIZE + STACK_GUARD_GAP;
    assert_eq!(space.handle_fault(lowest - PAGE_SIZE, Access::Write), Err(Fault::NotMapped));
    assert_eq!(space.handle_fault(lowest, Access::Write), Ok(()));
}

#[ktest]
fn the_heap_grows_and_shrinks() {
    let space = AddressSpace::new();
    space.set_brk_start(0x40_0123);
    let start = space.set_heap_end(0);
    assert_eq!(start, 0x40_1000);
    assert_eq!(space.set_heap_end(start + 10), start + 10);
    space.write_remote(start, &[8]).unwrap();
    assert_eq!(space.set_heap_end(start + 3 * PAGE_SIZE), start + 3 * PAGE_SIZE);
    assert_eq!(read_byte(&space, start), 8);
    assert_eq!(space.set_heap_end(start), start);
    assert_eq!(space.handle_fault(start, Access::Read), Err(Fault::NotMapped));
    assert_eq!(space.set_heap_end(usize::MAX), start);
}

#[ktest]
fn fixed_requests_replace_or_refuse() {
    let space = AddressSpace::new();
    let address = map_private(&space, 2);
    space.write_remote(address, &[1]).unwrap();
    let at = |placement| MapRequest { placement, ..request(PAGE_SIZE, Backing::Anonymous, Traits::empty()) };
    assert_eq!(space.map(at(Placement::FixedNoReplace(address))), Err(EEXIST));
    assert_eq!(space.map(at(Placement::Fixed(address))), Ok(address));
    assert_eq!(read_byte(&space, address), 0);
    assert_eq!(space.map(at(Placement::Fixed(address + 1))), Err(EINVAL));
    assert_eq!(space.map(at(Placement::Fixed(TASK_SIZE))), Err(ENOMEM));
    assert_ne!(space.map(at(Placement::Hint(address))), Ok(address));
    assert_eq!(space.map(at(Placement::Hint(0x1234_5678))), Ok(0x1234_5000));
}

#[ktest]
fn discarded_memory_is_zeros_again() {
    let space = AddressSpace::new();
    let address = map_private(&space, 2);
    space.write_remote(address, &[1; 2 * PAGE_SIZE]).unwrap();
    space.advise(address..address + PAGE_SIZE, Advice::DontNeed).unwrap();
    assert_eq!(read_byte(&space, address), 0);
    assert_eq!(read_byte(&space, address + PAGE_SIZE), 1);
    let beyond = address..address + 3 * PAGE_SIZE;
    assert_eq!(space.advise(beyond, Advice::Ignored), Err(ENOMEM));
}

#[ktest]
fn the_last_user_of_an_address_space_frees_its_pages() {
    let space = AddressSpace::new();
    let pages = 64;
    let address = map_private(&space, pages);
    space.populate(address..address + pages * PAGE_SIZE, true).unwrap();
    assert_eq!(space.usage().resident, pages);
    let mut frames = Vec::new();
    space.visit_pages(&(address..address + pages * PAGE_SIZE), |page| frames.push(page.frame));
    assert!(frames.iter().all(|frame| frame.reference_count() == 2));
    drop(space);
    assert!(frames.iter().all(|frame| frame.reference_count() == 1));
}

#[ktest]
fn remote_access_respects_only_what_others_own() {
    let space = AddressSpace::new();
    let cache = PageCache::new(PAGE_SIZE as u64);
    let shared = map_file(&space, &cache, true);
    let private = map_file(&space, &cache, false);
    for address in [shared, private] {
        space.protect(address..address + PAGE_SIZE, Protection::READ, false).unwrap();
    }
    assert_eq!(space.write_remote(shared, &[1]), Err(EFAULT));
    assert_eq!(space.write_remote(private, &[1]), Ok(()));
    assert!(!flags_at(&space, private).unwrap().contains(PageFlags::W));
    assert_eq!(space.write_remote_part(private + PAGE_SIZE - 1, &[1, 2]), 1);
    assert_eq!(file_byte(&cache, 0), 0);
}
