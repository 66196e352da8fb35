/* page.c - the document, line by line (a C string literal may not be as long as it is). */
#include "serving/page.h"
#include <string.h>

/* clang-format off */
static const char *const lines[] = {
    "<!doctype html>",
    "<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,"
    "initial-scale=1\">",
    "<title>freshet scorer</title>",
    "<style>",
    ":root{--ink:#1c2530;--dim:#66727f;--line:#dfe4ea;--card:#fff;--back:#f4f6f8;--blue:#1565c0;--bad:#b3261e;"
    "--good:#1b7f4b}",
    "@media(prefers-color-scheme:dark){:root{--ink:#e6ebf0;--dim:#93a0ad;--line:#2c3743;--card:#18212b;"
    "--back:#10171e;--blue:#6db1ff;--bad:#ff8a80;--good:#63d297}}",
    "*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:15px/1.45 system-ui,"
    "sans-serif}",
    "main{max-width:60rem;margin:0 auto;padding:1.5rem}h1{font-size:1.3rem;margin:0}h2{font-size:1rem;margin:0 0 "
    ".8rem}",
    "header{display:flex;align-items:baseline;gap:.8rem;flex-wrap:wrap;margin-bottom:1rem}#state{font-weight:600}",
    ".good{color:var(--good)}.bad{color:var(--bad)}.dim{color:var(--dim)}",
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.8rem;margin-bottom:1rem}",
    ".card,section{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:.8rem 1rem}",
    ".card b{display:block;font-size:1.5rem;font-variant-numeric:tabular-nums}.card span{color:var(--dim);"
    "font-size:.85rem}",
    "section{margin-bottom:1rem}code,textarea,td.n{font-family:ui-monospace,monospace;font-size:.85rem}",
    "#sha{overflow-wrap:anywhere}label{display:block;font-size:.85rem;color:var(--dim);margin-bottom:.2rem}",
    "input,textarea{width:100%;padding:.5rem;border:1px solid var(--line);border-radius:.4rem;"
    "background:var(--back);color:var(--ink);font:inherit}",
    "textarea{min-height:9rem;resize:vertical}button{margin:.6rem 0;padding:.5rem 1.2rem;border:0;"
    "border-radius:.4rem;background:var(--blue);color:var(--card);font:inherit;font-weight:600;cursor:pointer}",
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .5rem;border-bottom:1px solid "
    "var(--line)}td.n,th.n{text-align:right}",
    ".bar{height:.5rem;background:var(--blue);border-radius:.25rem;min-width:1px}details{margin-top:.6rem}",
    "</style></head><body><main>",
    "<header><h1>freshet scorer</h1><span id=\"state\" class=\"dim\" role=\"status\">connecting</span><span "
    "id=\"name\" class=\"dim\"></span></header>",
    "<div class=\"cards\">",
    "<div class=\"card\"><b id=\"version\">&ndash;</b><span>version in force</span></div>",
    "<div class=\"card\"><b id=\"age\">&ndash;</b><span>since it was published</span></div>",
    "<div class=\"card\"><b id=\"fresh\">&ndash;</b><span>freshness, median</span></div>",
    "<div class=\"card\"><b id=\"requests\">&ndash;</b><span>re-ranks answered</span></div>",
    "<div class=\"card\"><b id=\"rate\">&ndash;</b><span>re-ranks a second</span></div>",
    "<div class=\"card\"><b id=\"latency\">&ndash;</b><span>mean time of one</span></div>",
    "<div class=\"card\"><b id=\"hits\">&ndash;</b><span>sentences found in memory</span></div>",
    "</div>",
    "<section><h2>Model</h2><div id=\"model\" class=\"dim\">no version yet: the learner has published none</div>"
    "<code id=\"sha\" class=\"dim\"></code></section>",
    "<section><h2>Try a re-rank</h2>",
    "<label for=\"body\">Body of POST /v1/rerank</label>",
    "<textarea id=\"body\" spellcheck=\"false\">{\"user\": \"u1\",\n \"items\": [\"i1\", \"i2\", {\"item\": "
    "\"new\", \"title\": \"red wooden toy\", \"price\": 3}],\n \"explain\": true}</textarea>",
    "<details><summary class=\"dim\">Token</summary><label for=\"token\">Sent as Authorization: Bearer, if the "
    "scorer asks for one</label><input id=\"token\" type=\"password\" autocomplete=\"off\"></details>",
    "<button id=\"go\">Re-rank</button> <span id=\"said\" class=\"dim\"></span>",
    "<table id=\"ranks\" hidden><thead><tr><th class=\"n\">rank</th><th>item</th><th class=\"n\">score</th><th>"
    "</th><th>parts</th></tr></thead><tbody></tbody></table>",
    "</section>",
    "<p class=\"dim\">Machine-readable: <a href=\"/v1/models\">/v1/models</a>, <a href=\"/metrics\">/metrics</a>,"
    " <a href=\"/v2/health/ready\">/v2/health/ready</a></p>",
    "</main><script>",
    "'use strict';",
    "const $=i=>document.getElementById(i);let last=null;",
    "const head=()=>$('token').value?{Authorization:'Bearer '+$('token').value}:{};",
    "const span=ms=>ms<1000?ms.toFixed(0)+' ms':ms<60000?(ms/1000).toFixed(1)+' "
    "s':ms<3600000?(ms/60000).toFixed(0)+' min':(ms/3600000).toFixed(1)+' h';",
    "function state(text,cls){$('state').textContent=text;$('state').className=cls}",
    "function parse(text){const m={};for(const l of text.split('\\n')){if(!l||l[0]==='#')continue;const "
    "i=l.lastIndexOf(' ');m[l.slice(0,i)]=+l.slice(i+1)}return m}",
    "function show(model){if(!model)return;$('name').textContent=model.name;"
    "$('version').textContent=model.version;$('age').textContent=span(model.age_ms);",
    "$('model').textContent=model.examples.toLocaleString()+' examples learnt, '+(model.watermark?'events up to "
    "'+model.watermark:'no events yet')+', parts '+model.parts.join(', ')+', '+(model.live?'live':'replay');",
    "$('sha').textContent='sha256 '+model.sha256}",
    "function count(m){let n=0;for(const k in m)if(k.startsWith('freshet_http_requests_total{"
    "route=\"rerank\"'))n+=m[k];return n}",
    "async function poll(){try{const a=await fetch('/v1/models',{headers:head()});",
    "if(a.status===401){state('give the token below','bad');return}",
    "const models=(await a.json()).models,m=parse(await(await fetch('/metrics',{headers:head()})).text()),"
    "n=count(m),now=Date.now();",
    "show(models[0]);state(models.length?'serving':'waiting for a version',models.length?'good':'dim');",
    "$('requests').textContent=n.toLocaleString();if(last)$('rate').textContent=((n-last.n)*1000/(now-last.t)).to"
    "Fixed(1);last={n:n,t:now};",
    "const c=m['freshet_http_request_seconds_count{route=\"rerank\"}'],s=m['freshet_http_request_seconds_sum{"
    "route=\"rerank\"}'];",
    "$('latency').textContent=c?span(1000*s/c):'\\u2013';const f=m['freshet_freshness_p50_ms'];"
    "$('fresh').textContent=f?span(f):'\\u2013';",
    "if(m.freshet_state_entries)$('hits').textContent=(100*m.freshet_state_hit_frac).toFixed(1)+' %';",
    "}catch(e){state('the scorer does not answer','bad')}}",
    "function row(i,names){const tr=document.createElement('tr'),td=(t,c)=>{const d=tr.insertCell();"
    "d.textContent=t;if(c)d.className=c;return d};",
    "td(i.rank,'n');td(i.item+(i.known?'':' (not known)'));td(i.score.toFixed(4),'n');const "
    "b=document.createElement('div');b.className='bar';b.style.width=(6*i.score).toFixed(2)+'rem';"
    "td('').append(b);",
    "td(i.parts?Object.entries(i.parts).map(p=>p[0]+' '+p[1].toFixed(2)).join('  '):'');return tr}",
    "$('go').onclick=async()=>{const t=performance.now();try{const a=await fetch('/v1/rerank',{method:'POST',"
    "headers:{'Content-Type':'application/json',...head()},body:$('body').value});",
    "const j=await a.json(),body=$('ranks').tBodies[0];body.replaceChildren();$('ranks').hidden=!j.items;",
    "if(j.error){$('said').textContent=a.status+' '+j.error.message;$('said').className='bad';return}",
    "for(const i of j.items.slice(0,50))body.append(row(i));$('said').className='dim';",
    "$('said').textContent='version '+j.model.version+', '+span(performance.now()-t)+(j.user_known?'':', user "
    "not known')}catch(e){$('said').textContent=String(e);$('said').className='bad'}};",
    "poll();setInterval(poll,1000);",
    "</script></body></html>",
};
/* clang-format on */

void page_write(struct buf *b)
{
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        buf_put(b, lines[i], strlen(lines[i]));
        buf_u8(b, '\n');
    }
}
