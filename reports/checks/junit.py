"""A comparison as JUnit XML, as Jenkins, GitLab and other CI servers read it: a test case for each finding.

Jenkins' xUnit plug-in checks it against its schema, `junit-10.xsd`; the file keeps to that.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

from bench.formatting import visible
from bench.regression.finding import Comparison, Finding


def render(comparison: Comparison) -> bytes:
    """Return the XML: alarms are failures, and what can't be told or compared is skipped, with the reason."""
    cases = [_case(finding) for finding in comparison.worst_first()]
    failures, skipped = (
        str(sum(case.find(child) is not None for case in cases)) for child in ("failure", "skipped")
    )
    counts = {"tests": str(len(cases)), "failures": failures, "errors": "0"}
    name = f"bench {comparison.kind}"
    root = ET.Element("testsuites", {"name": name, **counts})
    suite = ET.SubElement(root, "testsuite", {"name": name, **counts, "skipped": skipped})
    properties = ET.SubElement(suite, "properties")
    for key, value in (("before", comparison.before), ("after", comparison.after)):
        ET.SubElement(properties, "property", {"name": key, "value": visible(value)})
    suite.extend(cases)
    ET.SubElement(suite, "system-out").text = visible("\n".join([*comparison.notes, comparison.summary]))
    ET.indent(root, " ")
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _case(finding: Finding) -> ET.Element:
    name = " ".join(filter(None, (finding.metric or "stage", finding.limit)))
    case = ET.Element("testcase", {"classname": visible(finding.stage), "name": visible(name), "time": "0"})
    text = visible(finding.text)
    if finding.alarms:
        failure = ET.SubElement(case, "failure", {"message": text, "type": finding.verdict})
        failure.text = visible(f"{finding.stage} {finding.metric}: {finding.text}")
    elif finding.verdict in ("can't tell", "not comparable"):
        ET.SubElement(case, "skipped", {"message": f"{finding.verdict}: {text}"})
    else:
        ET.SubElement(case, "system-out").text = f"{finding.verdict}: {text}"
    return case
