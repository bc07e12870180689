"""The opener: the only privileged program of the access function. It parses no packet and no order.

For every intercept access point of the configuration: enter its network namespace, bring the link up, make a packet
socket that receives nothing yet (protocol 0), put the socket filter on it and lock it, give it a ring, and only then
bind it. Then hand the descriptors over and exit. Needs CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON (without it
the kernel's verifier follows each branch as if mispredicted, and gives up), and CAP_SYS_ADMIN where a namespace is
entered.

The order of the steps is the safety: a socket that is bound first would take unfiltered frames into its ring.
"""

from __future__ import annotations

import os
import socket
import struct

from mediation.access import _linux, handover, interface
from mediation.access.socket_filter import FILTER_COUNTERS, SocketFilter
from mediation.core.errors import ConfigurationError
from mediation.runtime import log, network
from mediation.runtime.config import Hep, Iap, Site

ETH_P_ALL = 0x0003  # linux/if_ether.h

SO_RCVBUFFORCE = 33

PACKET_RX_RING = 5  # linux/if_packet.h
PACKET_COPY_THRESH = 7
PACKET_VERSION = 10
PACKET_IGNORE_OUTGOING = 23
TPACKET_V2 = 1

BLOCK_OCTETS = 1 << 18  # contiguous kernel memory; a larger one may not be had on a machine that ran long
FRAME_OVERHEAD = 128  # tpacket2_hdr, sockaddr_ll, alignment (80 octets), and an Ethernet header with three tags
MIN_FRAME_OCTETS = 2048
MAX_FRAME_OCTETS = 16384
# What is longer than a frame of the ring waits whole on the socket: segments of TCP that offload has put together.
LARGE_FRAMES_OCTETS = 4 << 20
HEP_BUFFER_OCTETS = 8 << 20  # 100 ms at 50,000 messages a second of 1,500 octets

CPU_LATENCY = "/dev/cpu_dma_latency"  # kernel Documentation/power/pm_qos_interface.rst: held while it is open


def geometry(mtu: int, ring_mib: int) -> tuple[int, int]:
    """Octets of a frame (a power of two that holds the interface's largest packet) and the number of frames."""
    frame = MIN_FRAME_OCTETS
    while frame < mtu + FRAME_OVERHEAD and frame < MAX_FRAME_OCTETS:
        frame *= 2
    return frame, (ring_mib << 20) // frame


def open_tap(iap: Iap, media_maps: tuple[int, int] | None = None) -> tuple[handover.Tap, socket.socket, SocketFilter]:
    """One filtered, locked, bound packet socket with its ring. Raises ConfigurationError naming the step."""
    with interface.inside(iap.namespace):
        link = interface.bring_up(iap.interface)
        socket_filter = SocketFilter(iap.ports, media_maps=media_maps, tunnels=iap.tunnels, vxlan_port=iap.vxlan_port)
        frame_size, frame_count = geometry(link.mtu, iap.ring_mib)
        step = "packet socket"
        try:
            tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
            step = "filter"
            socket_filter.attach(tap)
            step = "time stamps"
            stamps = interface.set_stamps(tap, iap.interface, hardware=iap.hardware_stamps)
            step = f"ring of {iap.ring_mib} MiB"
            tap.setsockopt(interface.SOL_PACKET, PACKET_VERSION, TPACKET_V2)
            if link.loopback:  # every packet passes it twice, out and in
                tap.setsockopt(interface.SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            ring = struct.pack("IIII", BLOCK_OCTETS, frame_size * frame_count // BLOCK_OCTETS, frame_size, frame_count)
            tap.setsockopt(interface.SOL_PACKET, PACKET_RX_RING, ring)
            tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, LARGE_FRAMES_OCTETS)
            tap.setsockopt(interface.SOL_PACKET, PACKET_COPY_THRESH, 1)
            step = "promiscuous mode"
            if iap.promiscuous:
                interface.set_promiscuous(tap, link)
            step = "bind"
            tap.bind((iap.interface, ETH_P_ALL))
        except OSError as error:
            raise ConfigurationError(f"iap {iap.name}: {step}: {error.strerror}") from error
    described = handover.Tap(
        name=iap.name, interface=iap.interface, stamps=stamps, frame_size=frame_size, frame_count=frame_count
    )
    return described, tap, socket_filter


def open_feed(hep: Hep) -> socket.socket:
    """A UDP socket that takes datagrams to `listen` from its interface alone. Raises ConfigurationError."""
    with interface.inside(hep.namespace):
        interface.bring_up(hep.interface)
        network.check(f"hep {hep.name}", hep.interface, hep.listen)
        feed = socket.socket(
            socket.AF_INET6 if ":" in hep.listen else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
        )
        step = "interface"
        try:
            feed.setsockopt(socket.SOL_SOCKET, network.SO_BINDTODEVICE, hep.interface.encode() + b"\0")
            step = "buffer"
            feed.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, HEP_BUFFER_OCTETS)
            feed.setsockopt(socket.SOL_SOCKET, interface.SO_TIMESTAMPNS, 1)
            step = "bind"
            feed.bind((hep.listen, hep.port))
        except OSError as error:
            feed.close()
            raise ConfigurationError(f"hep {hep.name}: {step}: {error.strerror}") from error
    return feed


def main(site: Site, channel: socket.socket) -> None:
    """Opens all taps of the site, hands them over, returns. Raises ConfigurationError; then nothing is handed over."""
    logger = log.get("opener")
    descriptors: list[int] = []
    taps: list[handover.Tap] = []
    held: list[socket.socket] = []  # the sockets live until the hand-over has them
    media_maps: tuple[int, int] | None = None
    for iap in site.iaps:
        described, tap, socket_filter = open_tap(iap, media_maps)
        media_maps = socket_filter.media_maps
        held.append(tap)
        taps.append(described)
        descriptors += [tap.fileno(), socket_filter.counters]
        logger.info("tap_opened", iap=iap.name, interface=iap.interface, stamps=described.stamps)
    if media_maps:
        descriptors += media_maps
    if site.access.hold_cpu_latency:
        try:
            latency = os.open(CPU_LATENCY, os.O_WRONLY | os.O_CLOEXEC)
            os.write(latency, struct.pack("=i", 0))
        except OSError as error:
            raise ConfigurationError(f"access.hold_cpu_latency: {CPU_LATENCY}: {error.strerror}") from error
        descriptors.append(latency)
    for hep in site.heps:
        held.append(open_feed(hep))
        descriptors.append(held[-1].fileno())
        logger.info("feed_opened", iap=hep.name, interface=hep.interface)
    handover.send(
        channel,
        handover.Handover(
            taps=tuple(taps),
            feeds=tuple(hep.name for hep in site.heps),
            filter_counters=FILTER_COUNTERS,
            processors=_linux.possible_processors(),
            holds_cpu_latency=site.access.hold_cpu_latency,
        ),
        descriptors,
    )
