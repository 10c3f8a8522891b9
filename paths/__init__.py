"""Paths of packets: observed by capture on every device, explained from the kernel's state, compared with documents.

A packet on its way, in the order in which it is worked on:

    probe, probes        the packet that is sent, and how it and its answer are told from other traffic
    capture, decode      frames of every device, and their headers
    observe, wires       one probe's sightings, put along the wires into one way
    space, explain       why it went there: what each namespace's kernel answers
    case, diagnose       where and why it died
    hosts, layer2        the checks: each a way to die
    evidence, differences   what a kernel counted, and what it has otherwise than is wanted
    trace, model         the whole story, and the values that it is made of (trace.schema.json)

What was to be expected, from the wanted state alone (no kernel is asked):

    fib, filters         rules and routes; filter rules, marks and translations
    segment, learned     layer 2 and who answers for an address; the routes that BGP will bring
    predict, parting     the way that a packet will take; where the observed one is another
    outlook              a prediction by itself

What the article documents, and whether it is so:

    documented, kinds    the path of each mode as data, and which pairs of ends it is about
    verify, survey       documented against observed: of one lab, of every mode
    rules, flat, reach, containers    the rules of a flat network
    mtu                  the MTU budget of a path
    traits, comparison   the article's tables

How it looks:

    show, verdicts, findings, paint   in a terminal
    scene, figure, layout, routing, svg, mermaid   as a picture and a chart
    beside               two modes beside each other
    pcap                 as files for Wireshark
"""
