//! The addresses of this machine.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The IPv4 and IPv6 addresses of all interfaces that are up, loopback included, each once. Errors: the kernel does not tell.
pub fn own_addresses() -> io::Result<Vec<IpAddr>> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `list` is a place for one pointer; on success it points to a list that `freeifaddrs` takes back.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = list;
    while !next.is_null() {
        // SAFETY: each entry of the list is valid until `freeifaddrs`, and so is the address that it points to, whose family says
        // which structure it is.
        let ip = unsafe {
            let entry = &*next;
            next = entry.ifa_next;
            match entry.ifa_addr.as_ref().map(|a| i32::from(a.sa_family)) {
                Some(libc::AF_INET) => {
                    let at = entry.ifa_addr.cast::<libc::sockaddr_in>().read_unaligned();
                    Some(IpAddr::from(Ipv4Addr::from(u32::from_be(at.sin_addr.s_addr))))
                }
                Some(libc::AF_INET6) => {
                    let at = entry.ifa_addr.cast::<libc::sockaddr_in6>().read_unaligned();
                    Some(IpAddr::from(Ipv6Addr::from(at.sin6_addr.s6_addr)))
                }
                _ => None,
            }
        };
        found.extend(ip);
    }
    // SAFETY: it came from `getifaddrs`, and nothing of it is used any more.
    unsafe { libc::freeifaddrs(list) };
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_loopback_address_and_each_address_once() {
        let all = own_addresses().unwrap();
        assert!(all.contains(&IpAddr::from([127, 0, 0, 1])), "{all:?}");
        assert!(all.windows(2).all(|w| w[0] != w[1]));
    }
}
