import assert from "node:assert/strict";
import { test } from "node:test";
import { fillIn, parseTemplate } from "./text-template.ts";

const words = { Service: { Name: "web", Labels: { "a.b": "1", c: "2" } }, Task: { Slot: "3" } };
const filled = (text: string, functions = {}) => fillIn(parseTemplate(text), words, functions);

test("fields, texts and functions are filled in, as Go does", () => {
  const cases: readonly (readonly [template: string, text: string])[] = [
    ["", ""],
    ["plain }} text {", "plain }} text {"],
    ["{{.Service.Name}}-{{ .Task.Slot }}", "web-3"],
    ["a {{- .Task.Slot -}} b", "a {{- .Task.Slot -}} b".replace(" {{- .Task.Slot -}} ", "3")],
    ['{{"}}"}}{{`"`}}', '}}"'],
    ["x{{/* {{ }} */}}y", "xy"],
    ['{{index .Service.Labels "a.b"}}{{index .Service.Labels "none"}}{{.Service.Labels.c}}', "12"],
    ['{{join "-" .Service.Name "x" .Task.Slot}}', "web-x-3"],
  ];
  for (const [template, text] of cases) assert.equal(filled(template), text, template);
  assert.equal(filled('{{ env "A" }}', { env: (name: string) => `<${name}>` }), "<A>");
});

test("what is not understood is refused", () => {
  const cases: readonly (readonly [template: string, message: RegExp])[] = [
    ["{{.Node", /^template: expansion:1: unclosed action$/],
    ["\n{{", /^template: expansion:2: unclosed action$/],
    ["{{}}", /missing value for command/],
    ["{{foo}}", /^template: expansion:1: function "foo" not defined$/],
    ["{{toString}}", /function "toString" not defined/],
    ['{{join "hunter2" .Foo}}', /^template: \{\{\.Foo\}\} is not known: /],
    ["{{.Foo}}", /^template: \{\{\.Foo\}\} is not known: \.Service\.Name, .*\.Task\.Slot are$/],
    ["{{.Service.toString}}", /is not known/],
    ["{{.Service}}", /is no text/],
    ["{{.Task.Slot.X}}", /is not known/],
    ["{{if .Task.Slot}}a{{end}}", /function "if" not defined/],
    ["{{.Task.Slot | printf}}", /only fields, texts and calls/],
    ["{{.Task.Slot .Task.Slot}}", /one value is wanted/],
    ['{{index "a" "b"}}', /wants a map and a key/],
    ["{{join .Service}}", /wants texts/],
  ];
  for (const [template, message] of cases)
    assert.throws(() => filled(template), { class: "invalid", message }, template);
});
