# tiny_bert.sh - sourced by end-to-end tests: tiny_bert DIR makes a complete Hugging Face folder of 2 layers, 32 hidden.
#
# Random weights from tests/golden/encoder, and a vocabulary of 48 letters and endings that covers lower-case English.
tiny_bert() {
    mkdir -p "$1/1_Pooling"
    cp "$source/tests/golden/encoder/gelu/config.json" "$source/tests/golden/encoder/gelu/model.safetensors" \
        "$source/tests/golden/encoder/gelu/modules.json" "$source/tests/golden/encoder/gelu/sentence_bert_config.json" "$1"
    cp "$source/tests/golden/encoder/gelu/1_Pooling/config.json" "$1/1_Pooling"
    {
        printf '[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n'
        for c in a b c d e f g h i j k l m n o p q r s t u v w x y z; do echo "$c"; done
        for c in a c d e g h i k l m n o p r s t y; do echo "##$c"; done
    } >"$1/vocab.txt"
    echo '{"tokenizer_class": "BertTokenizer", "do_lower_case": true, "model_max_length": 128}' >"$1/tokenizer_config.json"
}
